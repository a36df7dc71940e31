//! Comparing what was expected with what came, and showing the difference.

use serde_json::Value;
use std::fmt::Write;

/// Panics with the difference unless both are the same.
#[track_caller]
pub(crate) fn check(what: &str, expected: &Value, actual: &Value) {
    if expected != actual {
        panic!("{what}: expected (-) is not what came (+)\n{}", difference(&pretty(expected), &pretty(actual)));
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// The lines of both texts, in the order of both, with the fewest changes.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new) = (expected.lines().collect::<Vec<_>>(), actual.lines().collect::<Vec<_>>());
    let common = common(&old, &new);
    let (mut at_old, mut at_new) = (0, 0);
    let mut text = String::new();
    let mut line = |mark: char, line: &str| {
        // Cannot fail: a string takes everything.
        let _ = writeln!(text, "{mark} {line}");
    };
    while at_old < old.len() || at_new < new.len() {
        if at_old < old.len() && at_new < new.len() && old[at_old] == new[at_new] {
            line(' ', old[at_old]);
            (at_old, at_new) = (at_old + 1, at_new + 1);
        } else if at_new == new.len() || at_old < old.len() && common[at_old + 1][at_new] >= common[at_old][at_new + 1]
        {
            line('-', old[at_old]);
            at_old += 1;
        } else {
            line('+', new[at_new]);
            at_new += 1;
        }
    }
    text
}

/// How many lines the rests of both texts have in common, by where the rests begin.
fn common(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for at_old in (0..old.len()).rev() {
        for at_new in (0..new.len()).rev() {
            common[at_old][at_new] = if old[at_old] == new[at_new] {
                common[at_old + 1][at_new + 1] + 1
            } else {
                common[at_old + 1][at_new].max(common[at_old][at_new + 1])
            };
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_marked() {
        assert_eq!(difference("a\nb\nc", "a\nx\nc\nd"), "  a\n- b\n+ x\n  c\n+ d\n");
        assert_eq!(difference("", "a"), "+ a\n");
        assert_eq!(difference("a\nb", "b"), "- a\n  b\n");
    }
}

//! The names of a new project: its package, its crate and its type, made from the name it is deployed under.

use lantern_core::{Kind, Name};

/// The names of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    /// Of the package and its folder: `order-lines`.
    pub(super) package: String,
    /// Of the crate, and so of the component's file: `order_lines`.
    pub(super) krate: String,
    /// Of the type that is the module: `OrderLinesProjection`.
    pub(super) module_type: String,
}

impl Names {
    /// The names of a project; `Err` says what is wrong with the name.
    pub(super) fn of(kind: Kind, name: &Name) -> Result<Self, String> {
        let text = name.as_str();
        if !text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(format!("`{name}` is no name for a crate: begin it with a letter"));
        }
        if kind == Kind::Aggregate && text.contains('-') {
            return Err(format!(
                "`{name}` is no name for an aggregate: it is the category of its streams, so letters, digits and `_` only"
            ));
        }
        let words = words(text);
        let mut module_type: String = words.iter().map(|word| capitalised(word)).collect();
        let suffix = capitalised(kind.as_str());
        // Told apart from the types the project defines beside it.
        if !module_type.ends_with(&suffix) || module_type == suffix {
            module_type += &suffix;
        }
        Ok(Self { package: words.join("-"), krate: words.join("_"), module_type })
    }
}

/// The words of a name in small letters: parted by `-`, `_`, and where a capital follows a small letter or digit.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    for c in text.chars() {
        let is_parting = c == '-' || c == '_';
        let is_capital = c.is_ascii_uppercase() && before.is_some_and(|c: char| !c.is_ascii_uppercase());
        if is_parting || is_capital {
            words.push(String::new());
        }
        if !is_parting && let Some(word) = words.last_mut() {
            word.push(c.to_ascii_lowercase());
        }
        before = Some(c);
    }
    words.retain(|word| !word.is_empty());
    words
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn named(kind: Kind, name: &str, package: &str, krate: &str, module_type: &str) {
        let names = Names::of(kind, &name.parse().unwrap()).unwrap();
        assert_eq!((&*names.package, &*names.krate, &*names.module_type), (package, krate, module_type));
    }

    #[test]
    fn names_follow_the_customs_of_their_places() {
        named(Kind::Projection, "orders", "orders", "orders", "OrdersProjection");
        named(Kind::Aggregate, "OrderLine", "order-line", "order_line", "OrderLineAggregate");
        named(Kind::Handler, "ask-for_Shipping", "ask-for-shipping", "ask_for_shipping", "AskForShippingHandler");
        named(Kind::Upcaster, "v2", "v2", "v2", "V2Upcaster");
        named(Kind::Handler, "handler", "handler", "handler", "HandlerHandler");
        named(Kind::Handler, "mail-handler", "mail-handler", "mail_handler", "MailHandler");
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let refused = |kind, name: &str| Names::of(kind, &name.parse().unwrap()).unwrap_err();
        assert!(refused(Kind::Projection, "1st").contains("begin it with a letter"));
        assert!(refused(Kind::Aggregate, "order-line").contains("category"));
    }
}

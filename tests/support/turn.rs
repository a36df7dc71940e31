//! Whose turn it is: most tests run side by side, one that measures time runs alone.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

static MACHINE: RwLock<()> = RwLock::new(());

thread_local! {
    /// The turn of this thread's test. A test may start several hosts; they share one.
    static TURN: RefCell<Weak<Turn>> = const { RefCell::new(Weak::new()) };
}

/// The right to use the machine, until it is dropped.
pub struct Turn {
    _guard: Guard,
}

#[expect(dead_code, reason = "the guards are held, not read")]
enum Guard {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Joins the tests that run side by side, or the turn this thread has already.
pub fn shared() -> Rc<Turn> {
    // A test that failed leaves the lock poisoned; the next one may use the machine all the same.
    take(|| Guard::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner)))
}

/// Waits until no other test runs, and keeps the others waiting.
#[must_use]
pub fn alone() -> Rc<Turn> {
    take(|| Guard::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner)))
}

fn take(guard: impl FnOnce() -> Guard) -> Rc<Turn> {
    TURN.with_borrow_mut(|turn| {
        turn.upgrade().unwrap_or_else(|| {
            let taken = Rc::new(Turn { _guard: guard() });
            *turn = Rc::downgrade(&taken);
            taken
        })
    })
}

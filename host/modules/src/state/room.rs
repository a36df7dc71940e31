//! How much one call may hand to the host: documents and events together.

/// How much one call may hand to the host.
pub(crate) struct Room {
    most: u64,
    used: u64,
}

impl Room {
    /// Room for so many bytes a call.
    pub(crate) fn new(most: u64) -> Self {
        Self { most, used: 0 }
    }

    /// Begins a call: all of it is free.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// Takes so many bytes. The error is how many a call may take.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), u64> {
        self.used = self.used.saturating_add(bytes as u64);
        if self.used > self.most { Err(self.most) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_counted_together_for_each_call() {
        let mut room = Room::new(10);
        assert_eq!(room.take(6), Ok(()));
        assert_eq!(room.take(4), Ok(()));
        assert_eq!(room.take(1), Err(10));
        room.clear();
        assert_eq!(room.take(10), Ok(()));
        assert_eq!(room.take(usize::MAX), Err(10));
    }
}

//! A group: which of its members has which partition, and how far each partition is settled.

use std::collections::BTreeMap;

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    partitions: Vec<Share>,
    members: BTreeMap<u64, News>,
    /// The number of the next member.
    next_member: u64,
    /// The number of the next assignment.
    next_session: u64,
}

/// A partition as a group sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Share {
    /// The offset of the first message that is not settled.
    pub(super) settled: u64,
    /// The offset after the last message that was ever delivered.
    pub(super) delivered: u64,
    /// Who has it.
    owner: Option<u64>,
    /// The assignment by which the owner has it.
    pub(super) session: u64,
    /// The offset of the next message to deliver; `None` before the owner has said where it goes on.
    pub(super) at: Option<u64>,
    /// Whether the owner is to let it go.
    leaving: bool,
}

/// What a member is to be told.
#[derive(Debug, Default)]
struct News {
    assigned: Vec<usize>,
    revoked: Vec<usize>,
    /// Partitions that the member was told to let go and still has.
    letting_go: Vec<usize>,
}

/// One piece of news.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Assigned(Vec<usize>),
    Revoked(Vec<usize>),
}

impl Group {
    /// A group without members that begins at these offsets.
    pub(super) fn new(beginnings: impl IntoIterator<Item = u64>) -> Self {
        let share = |at| Share { settled: at, delivered: at, ..Share::default() };
        let partitions = beginnings.into_iter().map(share).collect();
        Self { partitions, members: BTreeMap::new(), next_member: 0, next_session: 0 }
    }

    /// The offset of the first message of a partition that is not settled.
    pub(super) fn settled(&self, partition: usize) -> u64 {
        self.partitions[partition].settled
    }

    /// A new member.
    pub(super) fn join(&mut self) -> u64 {
        let member = self.next_member;
        self.next_member += 1;
        self.members.insert(member, News::default());
        self.balance();
        member
    }

    /// A member goes; its partitions go to the others.
    pub(super) fn leave(&mut self, member: u64) {
        self.members.remove(&member);
        for share in self.partitions.iter_mut().filter(|share| share.owner == Some(member)) {
            share.free();
        }
        self.balance();
    }

    /// What a member was told to let go is gone now. Answers whether there was any.
    pub(super) fn let_go(&mut self, member: u64) -> bool {
        let gone = self.members.get_mut(&member).map(|news| std::mem::take(&mut news.letting_go)).unwrap_or_default();
        gone.iter().for_each(|index| self.partitions[*index].free());
        if !gone.is_empty() {
            self.balance();
        }
        !gone.is_empty()
    }

    /// The next thing a member is to be told.
    pub(super) fn told(&mut self, member: u64) -> Option<Told> {
        let news = self.members.get_mut(&member)?;
        if !news.revoked.is_empty() {
            news.letting_go = std::mem::take(&mut news.revoked);
            return Some(Told::Revoked(news.letting_go.clone()));
        }
        let assigned = std::mem::take(&mut news.assigned);
        (!assigned.is_empty()).then_some(Told::Assigned(assigned))
    }

    /// The partitions from which a member may have messages.
    pub(super) fn shares(&mut self, member: u64) -> impl Iterator<Item = (usize, &mut Share)> {
        let shares = self.partitions.iter_mut().enumerate();
        shares.filter(move |(_, share)| share.owner == Some(member) && !share.leaving)
    }

    /// A partition, if the member has it, even if it is to let it go.
    pub(super) fn share(&mut self, member: u64, partition: usize) -> Option<&mut Share> {
        self.partitions.get_mut(partition).filter(|share| share.owner == Some(member))
    }

    /// Gives every member as many partitions as any other, or one more, and moves as few as possible.
    fn balance(&mut self) {
        let Some(most) = self.partitions.len().checked_div(self.members.len()) else { return };
        let members: Vec<u64> = self.members.keys().copied().collect();
        let mut spare = self.partitions.len() % members.len();
        for member in &members {
            let owned: Vec<usize> = self.owned(*member);
            let mut allowed = most;
            if owned.len() > most && spare > 0 {
                allowed += 1;
                spare -= 1;
            }
            for index in owned.into_iter().skip(allowed) {
                self.partitions[index].leaving = true;
                let news = self.members.entry(*member).or_default();
                // What a member has not been told of yet it need not be told to let go.
                if let Some(place) = news.assigned.iter().position(|it| *it == index) {
                    news.assigned.remove(place);
                    self.partitions[index].free();
                } else {
                    news.revoked.push(index);
                }
            }
        }
        for index in 0..self.partitions.len() {
            if self.partitions[index].owner.is_some() {
                continue;
            }
            let Some(member) = members.iter().copied().min_by_key(|member| self.owned(*member).len()) else { return };
            self.next_session += 1;
            let share = &mut self.partitions[index];
            (share.owner, share.session) = (Some(member), self.next_session);
            self.members.entry(member).or_default().assigned.push(index);
        }
    }

    /// The partitions that stay with a member.
    fn owned(&self, member: u64) -> Vec<usize> {
        let shares = self.partitions.iter().enumerate();
        let kept = shares.filter(|(_, share)| share.owner == Some(member) && !share.leaving);
        kept.map(|(index, _)| index).collect()
    }
}

impl Share {
    fn free(&mut self) {
        (self.owner, self.at, self.leaving) = (None, None, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(group: &mut Group, member: u64) -> Vec<usize> {
        match group.told(member) {
            Some(Told::Assigned(partitions)) => partitions,
            told => panic!("{told:?}"),
        }
    }

    #[test]
    fn a_partition_moves_when_its_owner_lets_it_go() {
        let mut group = Group::new([0, 0, 0]);
        let first = group.join();
        assert_eq!(assigned(&mut group, first), [0, 1, 2]);
        let second = group.join();
        assert_eq!(group.told(second), None, "nothing is free yet");
        assert_eq!(group.told(first), Some(Told::Revoked(vec![2])));
        assert!(group.share(first, 2).is_some(), "what was delivered can still be settled");
        assert_eq!(group.told(second), None);
        assert!(group.let_go(first) && !group.let_go(first));
        assert!(group.share(first, 2).is_none());
        assert_eq!(assigned(&mut group, second), [2]);
    }

    #[test]
    fn what_a_member_had_goes_to_the_others_when_it_leaves() {
        let mut group = Group::new([0, 0, 0, 0]);
        let (first, second) = (group.join(), group.join());
        assert_eq!((assigned(&mut group, first), assigned(&mut group, second)), (vec![0, 1], vec![2, 3]));
        group.leave(first);
        assert_eq!(assigned(&mut group, second), [0, 1]);
        group.leave(second);
        let third = group.join();
        assert_eq!(assigned(&mut group, third), [0, 1, 2, 3]);
    }

    #[test]
    fn a_member_too_many_waits() {
        let mut group = Group::new([0]);
        let (first, second) = (group.join(), group.join());
        assert_eq!(assigned(&mut group, first), [0]);
        assert_eq!(group.told(second), None);
        group.leave(first);
        assert_eq!(assigned(&mut group, second), [0]);
    }
}

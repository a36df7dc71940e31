//! An account, second version: it keeps another state and lets nobody take out more than 1000 at once.

use lantern_guest::prelude::*;
use std::fmt;

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: u64,
    deposits: u64,
    withdrawals: u64,
    notes: Vec<String>,
}

#[derive(Deserialize)]
enum Command {
    Deposit {
        amount: u64,
    },
    Withdraw {
        amount: u64,
    },
    Note {
        text: String,
    },
    /// Puts an event in place that no account can be loaded over.
    Curse,
    /// Has nothing to do.
    Wait,
    Trap,
    Loop,
}

#[derive(Serialize, Deserialize)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
    Noted { text: String },
    Cursed,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Refusal {
    Insufficient { balance: u64, asked: u64 },
    OverLimit { limit: u64 },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insufficient { balance, asked } => write!(f, "the account has {balance}, which is less than {asked}"),
            Self::OverLimit { limit } => write!(f, "more than {limit} cannot be taken out at once"),
        }
    }
}

struct Accounts;

impl Aggregate for Accounts {
    const NAME: &str = "Account";
    const STATE_VERSION: u32 = 2;
    type State = Account;
    type Command = Command;
    type Event = AccountEvent;
    type Rejection = Refusal;

    fn decide(account: &Account, command: Command, _: &Context) -> Result<Vec<AccountEvent>, Refusal> {
        match command {
            Command::Deposit { amount } => Ok(vec![AccountEvent::Deposited { amount }]),
            Command::Withdraw { amount } if amount > 1000 => Err(Refusal::OverLimit { limit: 1000 }),
            Command::Withdraw { amount } if amount > account.balance => {
                Err(Refusal::Insufficient { balance: account.balance, asked: amount })
            }
            Command::Withdraw { amount } => Ok(vec![AccountEvent::Withdrawn { amount }]),
            Command::Note { text } => Ok(vec![AccountEvent::Noted { text }]),
            Command::Curse => Ok(vec![AccountEvent::Cursed]),
            Command::Wait => Ok(Vec::new()),
            Command::Trap => panic!("the command is a trap"),
            Command::Loop => loop {
                std::hint::spin_loop();
            },
        }
    }

    fn evolve(account: &mut Account, event: AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => {
                account.balance += amount;
                account.deposits += 1;
            }
            AccountEvent::Withdrawn { amount } => {
                account.balance -= amount;
                account.withdrawals += 1;
            }
            AccountEvent::Noted { text } => account.notes.push(text),
            AccountEvent::Cursed => panic!("the event is cursed"),
        }
    }
}

lantern_guest::aggregate!(Accounts);

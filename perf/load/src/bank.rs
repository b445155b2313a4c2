//! The bank workload: money moves between accounts, and none may appear or vanish.
//!
//! A transfer takes an amount from one account and adds it to another, wherever the two live. A
//! look reads a few accounts. Whatever happens to a transaction, even if nobody learns how it
//! ended, the sum of all accounts is what it was: half a transfer is what would change it.

use crate::counting::{Adds, Counted, Counting, Counts, Maker};
use crate::keys::{KeyChooser, Rng};
use crate::workload::{Place, Workload, map_of};
use punctual_runtime::{Key, Limits, Transaction};
use serde_json::{Map, Value, json};

/// What is in an account at the beginning.
const INITIAL: i64 = 1_000;
/// The largest amount of a transfer.
const AMOUNT_MAX: u64 = 100;
/// Accounts that a look reads.
const LOOK: usize = 4;
/// Bytes of an account.
const ACCOUNT_BYTES: usize = 8;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Bank {
    /// Accounts.
    pub accounts: u64,
    /// Share of the transactions that look at a few accounts; the others transfer.
    pub looks: f64,
    /// Exponent of the accounts' popularity; 0 is uniform.
    pub skew: f64,
}

impl Workload for Bank {
    type Generator = Counting<BankMaker>;

    fn name(&self) -> &'static str {
        "bank"
    }

    fn kinds(&self) -> &'static [&'static str] {
        &["transfer", "look"]
    }

    fn check(&self, _shards: u16, _limits: &Limits) -> Result<(), String> {
        match self.accounts >= LOOK as u64 {
            true => Ok(()),
            false => Err(format!("--accounts {} are fewer than {LOOK}", self.accounts)),
        }
    }

    fn parameters(&self) -> Map<String, Value> {
        let Self { accounts, looks, skew } = self;
        map_of(json!({ "accounts": accounts, "looks": looks, "skew": skew }))
    }

    fn describe(&self) -> String {
        let Self { accounts, looks, skew } = self;
        let zipf = if *skew > 0.0 { format!(" (Zipf {skew})") } else { String::new() };
        format!("transfers between {accounts} accounts{zipf}, {:.0} % looks", looks * 100.0)
    }

    fn shards_each(&self, shards: u16) -> f64 {
        f64::from(shards.min(2))
    }

    fn generator(&self, place: &Place) -> Counting<BankMaker> {
        let mut rng = Rng::new(place.own_seed());
        let accounts = KeyChooser::new(self.accounts, self.skew, rng.next_u64());
        let chosen = Vec::with_capacity(LOOK);
        let maker = BankMaker { accounts, rng, looks: self.looks, chosen };
        Counting::new(maker, place, self.accounts, (ACCOUNT_BYTES, INITIAL), 1)
    }

    fn check_store(&self, _done: &Counts, found: &Counted) -> Result<(), String> {
        if found.missing > 0 {
            return Err(format!("{} accounts are missing", found.missing));
        }
        let sum: i128 = found.sums.iter().map(|sum| i128::from(*sum)).sum();
        let wanted = i128::from(self.accounts) * i128::from(INITIAL);
        match sum == wanted {
            true => Ok(()),
            false => Err(format!("all accounts sum up to {sum}, there were {wanted}")),
        }
    }
}

/// Makes the transactions of one worker.
#[derive(Debug)]
pub struct BankMaker {
    accounts: KeyChooser,
    rng: Rng,
    looks: f64,
    chosen: Vec<u64>,
}

impl Maker for BankMaker {
    #[inline]
    fn make(&mut self, transaction: &mut Transaction, _adds: &mut Vec<Adds>) -> Result<u8, String> {
        let Self { accounts, rng, looks, chosen } = self;
        if rng.chance(*looks) {
            accounts.distinct(LOOK, chosen);
            for account in chosen {
                transaction.get(Key::Word(*account));
            }
            return Ok(1);
        }
        accounts.distinct(2, chosen);
        let amount = 1 + rng.below(AMOUNT_MAX).cast_signed();
        transaction.add(Key::Word(chosen[0]), -amount);
        transaction.add(Key::Word(chosen[1]), amount);
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_that_appears_or_vanishes_is_noticed_wherever_it_is() {
        let bank = Bank { accounts: 10, looks: 0.0, skew: 0.0 };
        let check = |sums: &[i64], missing| {
            let found = Counted { sums: sums.to_vec(), missing };
            bank.check_store(&Counts::default(), &found)
        };
        assert_eq!(check(&[10_000], 0), Ok(()));
        assert_eq!(check(&[12_000, -2_000], 0), Ok(()));
        assert!(check(&[9_999], 0).expect_err("less").contains("9999, there were 10000"));
        assert!(check(&[5_000, 5_001], 0).is_err());
        assert!(check(&[10_000], 1).expect_err("gone").contains("1 accounts are missing"));
    }
}

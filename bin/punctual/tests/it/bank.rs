//! A bank with a branch on each of two shards, whose tellers keep transferring money while things
//! go wrong.
//!
//! A transfer writes its id, in the same transaction as it moves the money, into a list on each
//! shard that it involves. So each can be looked for afterwards: an acknowledged one is there
//! exactly once, a refused one nowhere, and one whose end is unknown is there whole or not at all.

use crate::expect_none;
use crate::journaled::{Dice, PATIENCE, read};
use punctual_runtime::{
    Client, ClientError, Key, Outcome, Pending, RefusedReason, ShardId, TransactionResult,
    UnknownReason,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

/// Shards of the bank.
pub(crate) const SHARDS: u16 = 2;
/// Accounts of a branch.
const ACCOUNTS: usize = 8;
const TELLERS: u64 = 4;
/// Transfers that a teller has under way.
const IN_FLIGHT: usize = 8;
/// Ids of one list: it must stay below the longest value.
const IDS_A_LIST: u64 = 2048;

/// A shard of the bank, and one of its accounts.
type Place = (usize, usize);

/// Money on its way.
#[derive(Debug, Clone, Copy)]
struct Transfer {
    /// The teller, and a number that counts the teller's transfers.
    id: u64,
    from: Place,
    to: Place,
    amount: i64,
}

impl Transfer {
    /// Most go from shard to shard.
    fn draw(teller: u64, number: usize, dice: &mut Dice) -> Self {
        let mut place = |shard| (shard, dice.below(ACCOUNTS as u64) as usize);
        let (from, to) = (place(0), place(1));
        let (from, to) = match dice.below(8) {
            0 => (from, (0, (from.1 + 1) % ACCOUNTS)),
            1 => (to, (1, (to.1 + 1) % ACCOUNTS)),
            2..=4 => (from, to),
            _ => (to, from),
        };
        let amount = 1 + dice.below(100).cast_signed();
        Self { id: (teller << 32) | number as u64, from, to, amount }
    }

    fn is_on_both(&self) -> bool {
        self.from.0 != self.to.0
    }

    /// The shards that it involves.
    fn shards(&self) -> Vec<usize> {
        if self.is_on_both() { vec![self.from.0, self.to.0] } else { vec![self.from.0] }
    }
}

/// What a teller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Committed,
    /// No answer came in time: it may have run.
    Unknown,
    /// A shard refused it: it has not run and never will.
    Refused,
    /// There was no link for as long as it might take.
    NotSent,
}

/// A teller's notes: every transfer and its end, in the order of their numbers.
type Book = Vec<(Transfer, End)>;

/// What the bank has on one shard.
struct Branch {
    accounts: Vec<u64>,
    /// The text in braces puts a key on this shard.
    tag: String,
}

impl Branch {
    fn on(client: &Client, shard: u16) -> Self {
        let is_here = |key: Key<'_>| client.transaction().get(key).shard() == Some(ShardId(shard));
        let accounts = (0_u64..).filter(|key| is_here(Key::from(*key))).take(ACCOUNTS).collect();
        let mut tags = (0_u32..).map(|number| format!("{{branch {number}}}"));
        let tag = tags.find(|tag| is_here(Key::from(tag.as_str()))).expect("there is always one");
        Self { accounts, tag }
    }

    /// The key that counts the transfers.
    fn tally(&self) -> String {
        format!("{}tally", self.tag)
    }

    /// The key of a list of ids.
    fn list(&self, teller: u64, list: u64) -> String {
        format!("{}list {teller} {list}", self.tag)
    }

    /// The key of the list that a transfer's id goes to.
    fn list_of(&self, id: u64) -> String {
        self.list(id >> 32, (id & u64::from(u32::MAX)) / IDS_A_LIST)
    }
}

/// The bank.
pub(crate) struct Bank {
    branches: Vec<Branch>,
    /// Whether what a shard acknowledged of its own may be gone after a crash.
    may_forget: bool,
    /// For each shard, acknowledged transfers that nothing may take back.
    acknowledged: Vec<AtomicU64>,
    is_closed: AtomicBool,
}

/// Closes the bank at the end of a block, however it ends: nobody is to wait for those who work.
struct Closing<'a>(&'a Bank);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::Relaxed);
    }
}

/// Closes the bank if the thread that has it panics, so that the others end soon.
struct ClosingOnPanic<'a>(&'a Bank);

impl Drop for ClosingOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(Closing(self.0));
        }
    }
}

/// News of every transfer that commits.
pub(crate) struct Commits(Receiver<()>);

impl Commits {
    /// Waits until so many more have committed from now on.
    pub(crate) fn wait_for(&self, count: u64) {
        // How many there were does not matter, only that they are past.
        let _ = self.0.try_iter().count();
        for _ in 0..count {
            if let Err(why) = self.0.recv_timeout(PATIENCE) {
                panic!("no transfer commits any more: {why}");
            }
        }
    }
}

/// What came of all the work.
pub(crate) struct Work {
    books: Vec<Book>,
    audits: u64,
}

impl Bank {
    /// A bank without money: accounts are opened by what is put into them. `may_forget` says
    /// whether shards answer before what they did alone is durable.
    pub(crate) fn new(client: &Client, may_forget: bool) -> Self {
        let branches = (0..SHARDS).map(|shard| Branch::on(client, shard)).collect();
        let acknowledged = (0..SHARDS).map(|_| AtomicU64::new(0)).collect();
        Self { branches, may_forget, acknowledged, is_closed: AtomicBool::new(false) }
    }

    /// Lets tellers and an auditor work, while `trouble` is made, until it ends.
    pub(crate) fn work(
        &self,
        client: &Client,
        dice: &mut Dice,
        trouble: impl FnOnce(&mut Dice, &Commits),
    ) -> Work {
        let (news, commits) = mpsc::channel();
        thread::scope(|scope| {
            let closing = Closing(self);
            let tellers: Vec<_> = (0..TELLERS)
                .map(|teller| {
                    let (seed, news) = (dice.roll(), news.clone());
                    scope.spawn(move || self.keep_transferring(client, teller, seed, &news))
                })
                .collect();
            // The channel ends with the last teller.
            drop(news);
            let auditor = scope.spawn(|| self.keep_auditing(client));
            trouble(dice, &Commits(commits));
            drop(closing);
            let book = |teller: thread::ScopedJoinHandle<'_, Book>| teller.join().expect("a book");
            let books = tellers.into_iter().map(book).collect();
            Work { books, audits: auditor.join().expect("every audit agrees") }
        })
    }

    fn is_open(&self) -> bool {
        !self.is_closed.load(Ordering::Relaxed)
    }

    fn keep_transferring(
        &self,
        client: &Client,
        teller: u64,
        seed: u64,
        news: &Sender<()>,
    ) -> Book {
        let _closing = ClosingOnPanic(self);
        let (mut dice, mut book) = (Dice::new(seed), Book::new());
        while self.is_open() {
            let mut under_way = Vec::new();
            for number in book.len()..book.len() + IN_FLIGHT {
                let transfer = Transfer::draw(teller, number, &mut dice);
                under_way.push((transfer, self.submit(client, &transfer)));
            }
            for (transfer, pending) in under_way {
                let end = end_of(&transfer, &pending);
                if end == End::Committed {
                    self.note(&transfer);
                    // Whoever has heard enough does not listen any more.
                    let _ = news.send(());
                }
                book.push((transfer, end));
            }
        }
        book
    }

    fn submit(&self, client: &Client, transfer: &Transfer) -> Pending {
        let Transfer { id, from, to, amount } = *transfer;
        let account = |(shard, at): Place| self.branches[shard].accounts[at];
        let mut transaction = client.transaction();
        transaction.add(account(from), -amount).add(account(to), amount);
        for shard in transfer.shards() {
            let branch = &self.branches[shard];
            transaction.append(branch.list_of(id).as_str(), &id.to_le_bytes());
            transaction.add(branch.tally().as_str(), 1);
        }
        client.submit(&mut transaction).expect("the queue has room for all tellers")
    }

    /// Notes an acknowledged transfer, if nothing may take it back.
    fn note(&self, transfer: &Transfer) {
        if transfer.is_on_both() || !self.may_forget {
            for shard in transfer.shards() {
                self.acknowledged[shard].fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Reads all at one time, again and again: nothing acknowledged is missing even for a moment,
    /// and no money is on its way. How often that succeeded.
    fn keep_auditing(&self, client: &Client) -> u64 {
        let _closing = ClosingOnPanic(self);
        let mut audits = 0;
        while self.is_open() {
            let acknowledged = self.acknowledged.iter().map(|count| count.load(Ordering::SeqCst));
            let acknowledged: Vec<u64> = acknowledged.collect();
            let mut transaction = client.transaction();
            self.read_totals(|key| {
                transaction.get(key);
            });
            let pending = client.submit(&mut transaction).expect("the queue has room");
            // A read may fail like any other transaction; the next one may not.
            let Ok(result) = pending.wait_timeout(PATIENCE) else { continue };
            if !result.is_committed() {
                continue;
            }
            let (tallies, balances) = self.totals(&result);
            for (shard, (tally, acknowledged)) in tallies.iter().zip(&acknowledged).enumerate() {
                let what = "transfers are there, acknowledged were";
                assert!(tally >= acknowledged, "shard {shard}: {tally} {what} {acknowledged}");
            }
            let sum: i64 = balances.iter().flatten().sum();
            assert_eq!(sum, 0, "half a transfer was seen: {balances:?}");
            audits += 1;
        }
        audits
    }

    /// Names the keys of all tallies and balances.
    fn read_totals(&self, mut get: impl FnMut(Key<'_>)) {
        for branch in &self.branches {
            get(Key::from(branch.tally().as_str()));
            branch.accounts.iter().for_each(|account| get(Key::from(*account)));
        }
    }

    /// The tally and the balances of each shard, from the results of those reads.
    fn totals(&self, result: &TransactionResult) -> (Vec<u64>, Vec<Vec<i64>>) {
        let number = |at| result.number(at).unwrap_or(0);
        let row = 1 + ACCOUNTS;
        let rows = (0..self.branches.len()).map(|shard| shard * row);
        let tallies = rows.clone().map(|at| number(at).cast_unsigned()).collect();
        let balances = rows.map(|at| (at + 1..at + row).map(number).collect()).collect();
        (tallies, balances)
    }

    /// How often each id is in the lists of each shard.
    fn ids(&self, client: &Client, books: &[Book]) -> Vec<BTreeMap<u64, u32>> {
        let mut ids = vec![BTreeMap::new(); self.branches.len()];
        for (teller, book) in (0..).zip(books) {
            for list in 0..=book.len() as u64 / IDS_A_LIST {
                let result = read(client, |transaction| {
                    for branch in &self.branches {
                        transaction.get(branch.list(teller, list).as_str());
                    }
                });
                for (shard, ids) in ids.iter_mut().enumerate() {
                    for id in result.value(shard).unwrap_or_default().chunks(8) {
                        let id = id.try_into().map(u64::from_le_bytes).expect("whole ids");
                        *ids.entry(id).or_insert(0) += 1;
                    }
                }
            }
        }
        ids
    }

    /// Looks for every transfer on every shard. Fails with all that are not as they should be.
    pub(crate) fn check(&self, client: &Client, work: &Work) -> Findings {
        let mut found = Findings { audits: work.audits, ..Findings::default() };
        let totals = read(client, |transaction| {
            self.read_totals(|key| {
                transaction.get(key);
            });
        });
        let (tallies, balances) = self.totals(&totals);
        let mut ids = self.ids(client, &work.books);
        let mut wrong = Vec::new();
        for (shard, tally) in tallies.into_iter().enumerate() {
            let listed: u64 = ids[shard].values().map(|times| u64::from(*times)).sum();
            if tally != listed {
                wrong.push(format!("shard {shard} counted {tally} transfers and lists {listed}"));
            }
        }
        let mut expected = vec![vec![0; ACCOUNTS]; self.branches.len()];
        for (transfer, end) in work.books.iter().flatten() {
            let place = |shard: usize| ids[shard].remove(&transfer.id).unwrap_or(0);
            let times: Vec<u32> = transfer.shards().into_iter().map(place).collect();
            let (ran, not) = ([1, 1].starts_with(&times), [0, 0].starts_with(&times));
            let forgotten = not && self.may_forget && !transfer.is_on_both();
            let is_right = match end {
                End::Committed => ran || forgotten,
                End::Unknown => ran || not,
                End::Refused | End::NotSent => not,
            };
            if !is_right {
                wrong.push(format!("{transfer:?}, {end:?}, is there {times:?} times"));
            }
            if ran {
                expected[transfer.from.0][transfer.from.1] -= transfer.amount;
                expected[transfer.to.0][transfer.to.1] += transfer.amount;
            }
            found.count(*end, ran);
        }
        for (shard, ids) in ids.into_iter().enumerate().filter(|(_, ids)| !ids.is_empty()) {
            wrong.push(format!("shard {shard} has ids that nobody sent there: {ids:?}"));
        }
        if balances != expected {
            wrong.push(format!("the balances are {balances:?} instead of {expected:?}"));
        }
        expect_none("transfers that are lost, half there or there twice", &wrong);
        found
    }
}

/// How a transfer ended. There is no other end while shards come back with all that they knew: one
/// without its memory would end transfers as unknown for that reason.
fn end_of(transfer: &Transfer, pending: &Pending) -> End {
    match pending.wait_timeout(PATIENCE).map(|result| result.outcome) {
        Ok(Outcome::Committed { .. }) => End::Committed,
        Ok(Outcome::Unknown(UnknownReason::Deadline)) => End::Unknown,
        Ok(Outcome::Refused(RefusedReason::DispatchTimeout | RefusedReason::StampTooFar)) => {
            End::Refused
        }
        Err(ClientError::NotSent(_) | ClientError::LineFull(_)) => End::NotSent,
        end => panic!("{transfer:?}: nobody expects {end:?}"),
    }
}

/// How many transfers ended how; shown as one line.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) committed: u64,
    forgotten: u64,
    unknown: u64,
    unknown_ran: u64,
    refused: u64,
    not_sent: u64,
    pub(crate) audits: u64,
}

impl Findings {
    fn count(&mut self, end: End, ran: bool) {
        match end {
            End::Committed => self.committed += 1,
            End::Unknown => self.unknown += 1,
            End::Refused => self.refused += 1,
            End::NotSent => self.not_sent += 1,
        }
        self.unknown_ran += u64::from(end == End::Unknown && ran);
        self.forgotten += u64::from(end == End::Committed && !ran);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { committed, forgotten, unknown, unknown_ran, refused, not_sent, audits } = self;
        write!(
            f,
            "{committed} committed ({forgotten} of them taken back), {unknown} unknown \
             ({unknown_ran} of them ran), {refused} refused, {not_sent} not sent; {audits} audits"
        )
    }
}

//! Money goes from one account to another: by plain operations, and by a procedure that looks
//! whether there is enough.
//!
//! ```text
//! cargo run -p punctual-runtime --example transfer            everything in this process
//! cargo run -p punctual-runtime --example transfer -- FILE    shards that `punctual serve` runs
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use punctual_runtime::{
    Client, Config, Engine, Key, Outcome, ProcedureContext, Procedures, TransactionResult,
    Transport, Verdict,
};
use std::error::Error;
use std::path::Path;

/// The number under which the procedure is registered, the same in every process of a cluster.
const TRANSFER: u16 = 1;

// The text in braces decides the shard, so both accounts live on the same one.
const ALICE: &str = "{bank}alice";
const BOB: &str = "{bank}bob";

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args_os().nth(1) {
        None => embedded(),
        Some(file) => connected(Path::new(&file)),
    }
}

/// Two shards and a coordinator worker in this process.
fn embedded() -> Result<(), Box<dyn Error>> {
    let mut procedures = Procedures::new();
    procedures.register(TRANSFER, "transfer", transfer)?;
    let engine = Engine::embedded(Config::embedded(2), Transport::Ring).procedures(procedures);
    let (engine, client) = engine.start()?;
    open_accounts(&client)?;
    transfer_by_operations(&client, 30)?;
    transfer_by_procedure(&client, 50)?;
    transfer_by_procedure(&client, 50)?;
    show_balances(&client)?;
    engine.stop()?;
    Ok(())
}

/// Workers in this process, shards in another. A procedure runs in its shard, so a program that
/// serves shards would have to register it as well; `punctual serve` registers none.
fn connected(file: &Path) -> Result<(), Box<dyn Error>> {
    let (engine, client) = Engine::connect(Config::load(file)?).start()?;
    open_accounts(&client)?;
    transfer_by_operations(&client, 30)?;
    show_balances(&client)?;
    println!("transfer by procedure: left out, `punctual serve` has no procedures");
    engine.stop()?;
    Ok(())
}

/// The procedure. It runs inside the shard with nobody in between; an abort undoes all it did.
fn transfer(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let Ok(amount) = args.try_into().map(i64::from_le_bytes) else { return Verdict::Abort };
    let left = context.add(Key::from(ALICE), -amount);
    context.add(Key::from(BOB), amount);
    match left {
        Some(left) if left >= 0 => Verdict::Commit,
        _ => Verdict::Abort,
    }
}

fn open_accounts(client: &Client) -> Result<(), Box<dyn Error>> {
    let mut accounts = client.transaction();
    accounts.put(ALICE, &100_i64.to_le_bytes()).put(BOB, &0_i64.to_le_bytes());
    let result = client.submit(&mut accounts)?.wait()?;
    report("alice gets 100, bob nothing", &result)
}

/// Operations of a transaction run together or not at all, but none of them depends on another:
/// this transfer does not ask whether there is enough.
fn transfer_by_operations(client: &Client, amount: i64) -> Result<(), Box<dyn Error>> {
    let mut transfer = client.transaction();
    transfer.add(ALICE, -amount).add(BOB, amount);
    let pending = client.submit(&mut transfer)?;
    // Here the program could do something else: `pending` can be polled, awaited or waited for.
    let result = pending.wait()?;
    report(&format!("transfer of {amount} by operations"), &result)
}

fn transfer_by_procedure(client: &Client, amount: i64) -> Result<(), Box<dyn Error>> {
    let mut call = client.transaction();
    call.call(TRANSFER, ALICE, &amount.to_le_bytes());
    let result = client.submit(&mut call)?.wait()?;
    report(&format!("transfer of {amount} by procedure"), &result)
}

fn show_balances(client: &Client) -> Result<(), Box<dyn Error>> {
    let mut balances = client.transaction();
    balances.get(ALICE).get(BOB);
    let result = client.submit(&mut balances)?.wait()?;
    let [alice, bob] = [0, 1].map(|at| result.number(at).unwrap_or(0));
    report(&format!("alice has {alice}, bob has {bob}"), &result)
}

/// Says how a transaction ended. Only an outcome that nobody asked for is an error.
fn report(what: &str, result: &TransactionResult) -> Result<(), Box<dyn Error>> {
    match result.outcome {
        Outcome::Committed { at } => println!("{what}: committed at {at}"),
        Outcome::Aborted { at } => println!("{what}: aborted at {at}, nothing changed"),
        Outcome::Refused(why) => return Err(format!("{what}: refused, {why:?}").into()),
        Outcome::Unknown(why) => return Err(format!("{what}: it may have run, {why:?}").into()),
    }
    Ok(())
}

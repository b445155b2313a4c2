use super::*;
use punctual_wire::ResultReader;

/// Adds its first argument to a counter, and aborts if that makes it negative.
fn bump(context: &mut ProcedureContext<'_>, args: &[u8]) -> Verdict {
    let delta = i64::from_le_bytes(*args.first_chunk().expect("eight bytes"));
    let wanted = [Key::from("counter"), Key::Word(1)];
    context.prefetch_values(wanted.into_iter().map(|key| (key, 0..8)));
    let sum = context.add(Key::from("counter"), delta).expect("a number");
    assert!(context.result(&sum.to_le_bytes()));
    if sum < 0 { Verdict::Abort } else { Verdict::Commit }
}

#[test]
fn a_procedure_alone_writes_reports_and_is_undone_as_on_a_shard() {
    let mut procedures = Procedures::new();
    procedures.register(3, "bump", bump).expect("a free id");
    let (mut store, limits) = (Store::new(1, u64::MAX), Limits::DEFAULT);
    let mut results = Vec::new();
    let verdicts = [5_i64, -7, 1].map(|delta| {
        procedures.run_alone(3, &mut store, &limits, &delta.to_le_bytes(), &mut results)
    });
    assert_eq!(verdicts, [Verdict::Commit, Verdict::Abort, Verdict::Commit].map(Some));
    let sums: Vec<_> = ResultReader::new(&results).map(|result| result.number()).collect();
    assert_eq!(sums, [5, -2, 6].map(Some));
    let none = procedures.run_alone(4, &mut store, &limits, &[], &mut results);
    assert_eq!(none, None);
}

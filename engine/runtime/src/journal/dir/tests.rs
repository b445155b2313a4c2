//! What the directory of a journal goes through.

use super::*;

/// Nobody says so.
static STOP: AtomicBool = AtomicBool::new(false);

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for the test")
}

fn opened(path: &Path) -> JournalDir {
    JournalDir::open(path).unwrap_or_else(|error| panic!("it should be opened: {error}"))
}

#[test]
fn a_directory_is_made_with_those_around_it_and_is_had_by_one_at_a_time() {
    let temp = temp();
    let path = temp.path().join("data/shard-3");
    let dir = opened(&path);
    assert_eq!(dir.path(), path);
    let error = JournalDir::open(&path).expect_err("somebody has it");
    assert!(matches!(&error, JournalError::InUse { dir } if *dir == path), "{error}");
    assert!(error.is_usage() && error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(lock_to_read(&path).expect("it can be read").is_none(), "it is in use");
    drop(dir);
    assert!(lock_to_read(&path).expect("it can be read").is_some(), "it is not in use");
    opened(&path);
}

#[test]
fn a_directory_below_a_file_cannot_be_made() {
    let temp = temp();
    let file = temp.path().join("file");
    fs::write(&file, b"something else").expect("it can be written");
    for path in [file.join("data/shard-0"), file] {
        let error = JournalDir::open(&path).expect_err("it is no directory");
        assert!(matches!(&error, JournalError::Create { dir, .. } if *dir == path), "{error}");
        assert!(error.is_usage() && error.to_string().contains("durability.dir"), "{error}");
    }
}

#[test]
fn a_directory_that_nothing_can_be_made_in_is_refused() {
    // Not even the superuser makes files there, whatever the permissions say.
    let path = Path::new("/sys");
    let error = JournalDir::open(path).expect_err("it is no place for files");
    assert!(matches!(&error, JournalError::ReadOnly { dir, .. } if dir == path), "{error}");
    assert!(error.is_usage() && error.to_string().contains("/sys"), "{error}");
}

#[test]
fn a_lack_of_space_is_told_from_other_failures() {
    let source = fill(Path::new("/dev/full"), 10, &STOP).expect_err("nothing fits");
    let error = JournalError::io(Path::new("log-000001"), "made", source);
    assert!(matches!(error, JournalError::NoSpace { .. }), "{error}");
    let error = JournalError::io(Path::new("x"), "read", io::Error::from_raw_os_error(5));
    assert!(matches!(error, JournalError::Io { .. }), "{error}");
    assert!(error.to_string().starts_with("x could not be read: "), "{error}");
}

#[test]
fn a_spare_is_all_zeros_and_takes_the_place_of_an_unfinished_one() {
    let temp = temp();
    let dir = opened(temp.path());
    fs::write(temp.path().join("log-000003.tmp"), b"half of it").expect("it can be written");
    let bytes = FILL_SYNC_BYTES + PIECE_BYTES as u64 + 4096;
    let path = dir.make_spare(3, bytes, &STOP).expect("there is room");
    assert_eq!(path, temp.path().join("log-000003"));
    let content = fs::read(&path).expect("it can be read");
    assert!(content.len() as u64 == bytes && content.iter().all(|byte| *byte == 0));
    let segments = dir.segments().expect("they can be listed");
    let [SegmentFile { number: 3, path: listed, head: None }] = &segments[..] else {
        panic!("one spare, not {segments:?}");
    };
    assert_eq!(*listed, path);
    assert_eq!(names(temp.path()).expect("it can be listed").len(), 2, "the lock and the spare");
}

#[test]
fn a_spare_that_nobody_waits_for_any_more_is_given_up_and_leaves_nothing() {
    let temp = temp();
    let dir = opened(temp.path());
    let made = dir.make_spare(3, 4 * PIECE_BYTES as u64, &AtomicBool::new(true));
    let error = made.expect_err("it was told to stop");
    let JournalError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::Interrupted);
    assert_eq!(names(temp.path()).expect("it can be listed"), [LOCK]);
}

#[test]
fn settling_changes_no_file_and_fails_where_one_cannot_be_opened() {
    let temp = temp();
    let dir = opened(temp.path());
    let content = [("log-000001", 5_000), ("log-000002", 0), ("snapshot-00000000000000ff", 70_000)];
    for (name, bytes) in content {
        fs::write(temp.path().join(name), vec![7; bytes]).expect("it can be written");
    }
    // A part that was never written reads as zeros, before and after.
    let sparse = File::create(temp.path().join("log-000003")).expect("it can be made");
    sparse.set_len(1 << 20).expect("it can be made longer");
    for _ in 0..2 {
        dir.settle().expect("they can be synced");
        for (name, bytes) in content {
            let found = fs::read(temp.path().join(name)).expect("it can be read");
            assert_eq!(found, vec![7; bytes], "{name}");
        }
        let found = fs::read(temp.path().join("log-000003")).expect("it can be read");
        assert_eq!(found, vec![0; 1 << 20]);
    }
    let path = temp.path().join("log-000004");
    fs::create_dir(&path).expect("it can be made");
    let error = dir.settle().expect_err("that is no file");
    assert!(error.to_string().starts_with(&format!("{} could not be opened", path.display())));
}

#[test]
fn a_recycled_file_has_no_head_and_a_new_name() {
    let temp = temp();
    let dir = opened(temp.path());
    let old = temp.path().join("log-000001");
    fs::write(&old, vec![7; 16 << 10]).expect("it can be written");
    let path = dir.recycle(&old, 5, 16 << 10, &STOP).expect("it can be recycled");
    assert_eq!(path, dir.segment_path(5));
    let content = fs::read(&path).expect("it can be read");
    assert!(content[..SEGMENT_HEAD_BYTES].iter().all(|byte| *byte == 0), "its head is gone");
    assert!(content[SEGMENT_HEAD_BYTES..].iter().all(|byte| *byte == 7), "the rest need not be");
    assert!(!old.exists());

    let path = dir.recycle(&path, 6, 32 << 10, &STOP).expect("it can be made anew");
    assert_eq!(fs::read(&path).expect("it can be read"), vec![0; 32 << 10]);
    assert!(!dir.segment_path(5).exists());
}

#[test]
fn only_names_that_a_journal_gives_are_taken_for_its_files() {
    let temp = temp();
    let dir = opened(temp.path());
    let ours = ["log-000002", "log-1000000", "snapshot-00000000000000ff"];
    let others = ["log-2", "log-+00003", "log-000004.tmp", "snapshot-FF", "snapshot.tmp", "notes"];
    for name in ours.iter().chain(&others) {
        fs::write(temp.path().join(name), b"").expect("it can be written");
    }
    let numbers = dir.segments().expect("they can be listed").into_iter().map(|it| it.number);
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 1_000_000]);
    let snapshots = dir.snapshots().expect("they can be listed");
    assert_eq!(snapshots, [(Lsn(255), temp.path().join(ours[2]))]);

    dir.remove_unfinished().expect("they can be removed");
    let gone = |name: &&str| !temp.path().join(name).exists();
    let removed: Vec<_> = others.into_iter().filter(gone).collect();
    assert_eq!(removed, ["log-000004.tmp", "snapshot.tmp"]);
    dir.remove(&temp.path().join("notes")).expect("it can be removed");
    dir.remove(&temp.path().join("notes")).expect("that it is not there is fine");
}

//! The documents hold together: nothing is unlisted, no link is dead, and the bytes that the book
//! shows are the bytes that the code writes.

use crate::help::{commands, is_option};
use crate::{expect_none, files_under, read, relative, root};
use punctual_wire::{
    BatchWriter, CloseReason, Features, Handshake, Hello, Key, Limits, MAGIC, Op, OpResult,
    Participant, PeerMessage, Piece, Probe, RefusedReason, Reply, ReplyStatus, ReplyTiming,
    ResultStatus, Role, TxnId, TxnSequence, VERSION,
};
use std::path::PathBuf;

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let docs = root().join("docs");
    let listed = links(&read(&docs.join("SUMMARY.md")));
    let mut offenders = Vec::new();
    for page in files_under(&docs, "md") {
        let name = page.strip_prefix(&docs).unwrap_or(&page).display().to_string();
        if name != "SUMMARY.md" && !listed.contains(&name) {
            offenders.push(name);
        }
    }
    expect_none("pages missing from docs/SUMMARY.md", &offenders);
}

#[test]
fn every_decision_is_in_the_index() {
    let decisions = root().join("docs/decisions");
    let listed = links(&read(&decisions.join("README.md")));
    let mut offenders = Vec::new();
    for page in files_under(&decisions, "md") {
        let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != "README.md" && !listed.contains(&name) {
            offenders.push(name);
        }
    }
    expect_none("decisions missing from docs/decisions/README.md", &offenders);
}

#[test]
fn every_relative_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut offenders = Vec::new();
    for page in pages() {
        let folder = page.parent().expect("a page is in a folder");
        for link in links(&read(&page)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file) };
            let known = || anchors(&read(&target)).iter().any(|heading| heading == anchor);
            if file.starts_with('/') || !target.exists() {
                offenders.push(format!("{}: no file for {link}", relative(&page)));
            } else if !anchor.is_empty() && !known() {
                offenders.push(format!("{}: no heading for {link}", relative(&page)));
            }
        }
    }
    expect_none("dead links", &offenders);
}

#[test]
fn no_page_names_a_path_of_the_machine_it_was_written_on() {
    let checkout = root().display().to_string();
    let mut homes = vec!["/home/", concat!("/ro", "ot/"), "/Users/", "file://"];
    // A checkout directly below the root could share its name with something harmless.
    if root().components().count() > 2 {
        homes.push(&checkout);
    }
    let mut offenders = Vec::new();
    for page in pages() {
        let text = read(&page);
        for home in homes.iter().filter(|home| text.contains(**home)) {
            offenders.push(format!("{}: {home}", relative(&page)));
        }
    }
    expect_none("paths of one machine", &offenders);
}

#[test]
fn the_cluster_page_shows_every_example_configuration() {
    let page = read(&root().join("docs/cluster.md"));
    let examples = files_under(&root().join("docs/examples"), "toml");
    let names: Vec<String> = examples.iter().map(|path| relative(path)).collect();
    for name in ["docs/examples/one-shard.toml", "docs/examples/two-shards.toml"] {
        assert!(names.iter().any(|found| found == name), "{name} is gone");
    }
    let offenders: Vec<String> = names.into_iter().filter(|name| !page.contains(name)).collect();
    expect_none("examples that docs/cluster.md does not use", &offenders);
}

#[test]
fn the_page_on_clusters_of_workers_shows_every_other_example() {
    let page = read(&root().join("docs/cluster-workers.md"));
    let mut offenders = Vec::new();
    for extension in ["sh", "service", "sbatch", "yaml"] {
        let examples = files_under(&root().join("docs/examples"), extension);
        assert!(!examples.is_empty(), "there is no example .{extension}");
        let names = examples.iter().map(|path| relative(path));
        offenders.extend(names.filter(|name| !page.contains(name)));
    }
    expect_none("examples that docs/cluster-workers.md does not use", &offenders);
}

#[test]
fn every_command_and_option_that_the_book_shows_exists() {
    let commands = commands();
    let (mut calls, mut offenders) = (0, Vec::new());
    for page in pages() {
        for call in shown_calls(&read(&page)) {
            calls += 1;
            let mut command = "punctual".to_owned();
            let mut words = call.iter().peekable();
            while let Some(word) = words.next_if(|word| {
                let longer = format!("{command} {word}");
                commands.contains_key(&longer)
            }) {
                command = format!("{command} {word}");
            }
            let help = &commands[&command];
            let mut wrong = Vec::new();
            if help.contains("\nCommands:\n") {
                let missing = words.peek().filter(|word| !word.starts_with('-'));
                wrong.extend(missing.map(|word| (*word).clone()));
            }
            let options = words.take_while(|word| *word != "--").filter_map(|word| {
                let name = word.split('=').next()?;
                (name.len() > 2 && name.starts_with("--")).then_some(name)
            });
            let unknown = options.filter(|option| !is_option(help, option));
            wrong.extend(unknown.map(str::to_owned));
            let page = relative(&page);
            offenders.extend(wrong.iter().map(|word| format!("{page}: {command} {word}")));
        }
    }
    assert!(calls > 30, "only {calls} calls were found");
    expect_none("commands and options that there are not", &offenders);
}

#[test]
fn every_defect_of_the_original_has_a_test_that_the_page_on_tasks_names() {
    const DEFECTS: u32 = 18;
    let page = read(&root().join("docs/tasks.md"));
    // Other tables of the page have rows with numbers, too.
    let (_, page) = page.split_once("## The original's defects").expect("a section on them");
    let mut tests = Vec::new();
    for path in files_under(&root(), "rs") {
        let text = read(&path);
        let names = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("fn ")?.strip_suffix("() {"));
        tests.extend(names.filter(|name| name.starts_with("defect_")).map(str::to_owned));
    }
    let mut offenders = Vec::new();
    for number in 1..=DEFECTS {
        let row = page.lines().find(|line| line.starts_with(&format!("| {number} | ")));
        let row = row.unwrap_or_default();
        let prefix = format!("defect_{number:02}_");
        let mut own = tests.iter().filter(|name| name.starts_with(&prefix)).peekable();
        if own.peek().is_none() {
            offenders.push(format!("{number} has no test {prefix}..."));
        }
        let missing = own.filter(|name| !row.contains(&format!("`{name}`")));
        offenders.extend(missing.map(|name| format!("{number} does not name {name}")));
        // Every other piece of code in the last cell is a name.
        let cell = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        let named = cell.split('`').skip(1).step_by(2);
        let unknown = named.filter(|name| !tests.iter().any(|test| test == name));
        offenders.extend(unknown.map(|name| format!("{number} names {name}, which is not there")));
    }
    expect_none("defects without a test, or whose test is not named", &offenders);
}

#[test]
fn the_wire_format_page_lists_every_close_reason() {
    let page = wire_format();
    let mut offenders = Vec::new();
    for reason in CloseReason::ALL {
        let row = format!("| {} | `{}` |", reason as u8, reason.name());
        if !page.contains(&row) {
            offenders.push(row);
        }
    }
    expect_none("rows missing from docs/wire-format.md", &offenders);
}

#[test]
fn the_wire_format_page_lists_every_reason_of_a_refusal() {
    let page = wire_format();
    let (_, section) = page.split_once("## Reply").expect("a section on replies");
    let mut offenders = Vec::new();
    for reason in RefusedReason::ALL {
        // `StampTooFar` has a row with the name `stamp too far`.
        let mut name = String::new();
        for letter in format!("{reason:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push(' ');
            }
            name.extend(letter.to_lowercase());
        }
        let row = format!("| {} | {name} |", reason as u8);
        if !section.contains(&row) {
            offenders.push(row);
        }
    }
    expect_none("rows missing from docs/wire-format.md", &offenders);
}

#[test]
fn the_hello_of_the_wire_format_page_is_what_the_writer_makes() {
    let mut out = BatchWriter::new(Limits::DEFAULT, 1, false);
    let hello = Hello {
        magic: MAGIC.into(),
        version: VERSION.into(),
        role: Role::Coordinator as u8,
        reserved: 0,
        shard: 0_u16.into(),
        from: 0_u16.into(),
        session: 0x1122_3344_5566_7788_u64.into(),
        cluster: 0xa1b2_c3d4_e5f6_0718_u64.into(),
        features: Features::CHECKSUM.0.into(),
        slots: 1024_u32.into(),
    };
    Handshake::write_hello(&mut out, &hello);
    assert_eq!(hex_block(&wire_format(), "hello"), out.sealed());
}

#[test]
fn the_dispatch_of_the_wire_format_page_is_what_the_writer_makes() {
    let dispatch = |checksum| {
        let mut out = BatchWriter::new(Limits::DEFAULT, 64, checksum);
        let mut body = Vec::new();
        Op::Add { key: Key::Word(42), delta: 1 }.write(&mut body);
        Op::Get { key: Key::from("user:7") }.write(&mut body);
        Piece::write(&mut out, TxnSequence::new(5, 1), false, 2, &body);
        body.clear();
        Op::Put { key: Key::Word(7), value: b"hello" }.write(&mut body);
        Piece::write(&mut out, TxnSequence::new(6, 3), false, 1, &body);
        out.seal();
        out.sealed().to_vec()
    };
    assert_eq!(hex_block(&wire_format(), "dispatch"), dispatch(false));
    assert_eq!(hex_block(&wire_format(), "checksum"), dispatch(true)[..12]);
}

#[test]
fn the_reply_of_the_wire_format_page_is_what_the_writer_makes() {
    let mut out = BatchWriter::new(Limits::DEFAULT, 64, false);
    let done = ReplyStatus::Committed;
    let mut body = Vec::new();
    OpResult::with(ResultStatus::Ok, &1_i64.to_le_bytes()).write(&mut body);
    OpResult::bare(ResultStatus::NotFound).write(&mut body);
    Reply::write(&mut out, TxnSequence::new(5, 1), done, 1_000_000_007, 2, &body);
    body.clear();
    OpResult::bare(ResultStatus::Ok).write(&mut body);
    Reply::write(&mut out, TxnSequence::new(6, 3), done, 1_000_000_008, 1, &body);
    out.seal();
    assert_eq!(hex_block(&wire_format(), "reply"), out.sealed());
}

/// The transaction on two shards of the wire format page.
const SHARED: TxnId = TxnId { session: 0x1122_3344_5566_7788, sequence: TxnSequence(0x0001_0007) };

/// The bytes that a block of the wire format page shows are those that `write` makes.
fn assert_shows(name: &str, write: impl FnOnce(&mut BatchWriter)) {
    let mut out = BatchWriter::new(Limits::DEFAULT, 64, false);
    write(&mut out);
    out.seal();
    assert_eq!(hex_block(&wire_format(), name), out.sealed(), "{name}");
}

#[test]
fn the_stamped_piece_and_the_timed_reply_of_the_wire_format_page_are_what_the_writer_makes() {
    let sequence = SHARED.sequence;
    assert_shows("stamped", |out| {
        let participants = [
            Participant { shard: 0, incarnation: 0x0123_4567 },
            Participant { shard: 3, incarnation: 0x99aa_bbcc },
        ];
        let mut body = Vec::new();
        Op::Add { key: Key::Word(42), delta: -1 }.write(&mut body);
        Piece::write_stamped(out, sequence, 2_000_000_000, &participants, false, 1, &body);
    });
    assert_shows("timed", |out| {
        let timing = ReplyTiming {
            received_at: 1_999_900_000,
            agreed_after: 85_000,
            released_after: 161_000,
        };
        let mut body = Vec::new();
        OpResult::with(ResultStatus::Ok, &0_i64.to_le_bytes()).write(&mut body);
        let done = ReplyStatus::Committed;
        Reply::write_timed(out, sequence, done, 2_000_060_000, timing, 1, &body);
    });
}

#[test]
fn the_peer_frames_of_the_wire_format_page_are_what_the_writer_makes() {
    let (txn, to) = (SHARED, 0x99aa_bbcc);
    assert_shows("peer", |out| {
        PeerMessage::Propose { txn, local: 2_000_000_000, to, answer: false }.write(out);
        PeerMessage::Watermark { at: 1_999_000_000 }.write(out);
    });
    assert_shows("lost", |out| {
        let txn = TxnId { sequence: TxnSequence::new(8, 1), ..txn };
        PeerMessage::Lost { txn, shard: 5, to, dead: 1 << 2 }.write(out);
    });
    assert_shows("settle", |out| PeerMessage::Settle { txn, to }.write(out));
    assert_shows("decided", |out| PeerMessage::Decided { txn }.write(out));
}

#[test]
fn the_probes_of_the_wire_format_page_are_what_the_writer_makes() {
    let on_time = Probe { id: 4, t1: 5_000_000, ..Probe::default() };
    assert_shows("probe", |out| {
        Probe { t4: 4_090_000, ..on_time }.write(out);
        let late = Probe { id: 5, late: true, t1: 6_700_000, ..on_time };
        Probe { t4: 5_095_000, ..late }.write(out);
    });
    assert_shows("answer", |out| {
        let answer = Probe { is_reply: true, ..on_time };
        Probe { t2: 905_040_000, t3: 905_045_000, ..answer }.write(out);
    });
}

/// The README and every page of the book.
fn pages() -> Vec<PathBuf> {
    let mut pages = files_under(&root().join("docs"), "md");
    pages.push(root().join("README.md"));
    pages
}

fn wire_format() -> String {
    read(&root().join("docs/wire-format.md"))
}

/// The bytes of the fenced block after `<!-- hex: NAME -->`; what follows a bar is explanation.
fn hex_block(page: &str, name: &str) -> Vec<u8> {
    let marker = format!("<!-- hex: {name} -->");
    let (_, tail) = page.split_once(&marker).unwrap_or_else(|| panic!("no {marker} on the page"));
    let lines = tail.lines().skip_while(|line| !line.starts_with("```")).skip(1);
    let block = lines.take_while(|line| !line.starts_with("```"));
    let words = block.flat_map(|line| line.split('|').take(1).flat_map(str::split_whitespace));
    words.map(|word| u8::from_str_radix(word, 16).expect("two hexadecimal digits")).collect()
}

/// The lines that are text: fenced blocks show links and headings that are none.
fn text_lines(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// The words of every call of the program in the blocks of shell of a page.
fn shown_calls(page: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    let mut is_shell = false;
    // A line that ends with a backslash goes on in the next one.
    for line in page.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            is_shell = line.trim() == "```sh";
            continue;
        }
        if !is_shell || line.starts_with('#') {
            continue;
        }
        let line = line.split(" #").next().unwrap_or_default();
        for part in line.split([';', '|', '&']) {
            let words: Vec<&str> = part.split_whitespace().collect();
            let is_program = |word: &&str| {
                let word = word.trim_start_matches(['(', '$']);
                word == "punctual" || word.ends_with("/punctual")
            };
            let begin = match words.as_slice() {
                ["cargo", "run", ..] => words.iter().position(|word| *word == "--"),
                _ => words.iter().position(is_program),
            };
            let Some(begin) = begin else { continue };
            let word = |word: &&str| word.trim_matches(['\'', '"', ')', '(']).to_owned();
            let call: Vec<String> = words[begin + 1..].iter().map(word).collect();
            // Else the name of the program is only an argument of another one.
            if call.first().is_some_and(|word| word.starts_with(char::is_alphabetic)) {
                calls.push(call);
            }
        }
    }
    calls
}

/// The targets of all links and pictures, code spans excepted.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text_lines(page) {
        let line = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for (open, close) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let targets = line.split(open).skip(1).filter_map(|tail| tail.split_once(close));
            found.extend(targets.map(|(target, _)| target.to_owned()));
        }
    }
    found
}

/// The anchors of all headings, as the usual renderers make them.
fn anchors(page: &str) -> Vec<String> {
    let headings = text_lines(page).filter(|line| line.starts_with('#'));
    let kept = |character: char| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    };
    let slug = |line: &str| -> String {
        line.trim_start_matches('#').trim().to_lowercase().chars().filter_map(kept).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn the_checker_finds_links_and_headings_but_none_in_code() {
    let page = [
        "# One `two`: three_4",
        "See [a](b.md#c) and [`d`](e.md), not `[f](g.md)`.",
        "```text",
        "# no heading",
        "[no](link.md)",
        "```",
        "<img src=\"h.svg\">",
    ]
    .join("\n");
    assert_eq!(links(&page), ["b.md#c", "e.md", "h.svg"]);
    assert_eq!(anchors(&page), ["one-two-three_4"]);
    let page = "<!-- hex: x -->\n\n```text\n0a ff | ten\n01\n```\n02";
    assert_eq!(hex_block(page, "x"), [0x0a, 0xff, 0x01]);
}

#[test]
fn the_checker_finds_calls_of_the_program_in_shell_alone() {
    let page = [
        "`punctual not`",
        "```sh",
        "cargo run --release -- bench micro --shards 2  # punctual no",
        "export X=1; (punctual task run \\",
        "    file --slots=2) && ssh node1 /opt/punctual owd",
        "cargo test --package punctual --test it",
        "# punctual no",
        "```",
        "```text",
        "punctual no",
        "```",
    ];
    let calls = shown_calls(&page.join("\n"));
    let calls: Vec<String> = calls.iter().map(|call| call.join(" ")).collect();
    assert_eq!(calls, ["bench micro --shards 2", "task run file --slots=2", "owd"]);
}

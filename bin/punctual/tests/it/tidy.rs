//! The house rules: who may depend on whom, how long things may get, where `unsafe` lives and
//! what the core must not touch. Each test lists all offenders; the last ones test the scanner.
//!
//! The scanner is no parser. It blanks comments and literals, then looks at words and brackets,
//! which is exact enough here and needs no syntax library.

use crate::{expect_none, files_under, read, relative, root};
use cargo_metadata::MetadataCommand;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const LINE_COLUMNS_MAX: usize = 100;

/// Each crate of ours with those of ours that it may depend on, for tests as well. The reasons are
/// in `docs/architecture.md`.
const EDGES: &[(&str, &[&str])] = &[
    ("punctual-wire", &[]),
    ("punctual-link", &["punctual-wire"]),
    ("punctual-core", &["punctual-wire"]),
    ("punctual-taskfile", &["punctual-wire"]),
    ("punctual-runtime", &["punctual-core", "punctual-link", "punctual-wire"]),
    ("punctual-process", &["punctual-core", "punctual-link", "punctual-runtime", "punctual-wire"]),
    (
        "punctual-redis",
        &[
            "punctual-core",
            "punctual-link",
            "punctual-runtime",
            "punctual-taskfile",
            "punctual-wire",
        ],
    ),
    ("punctual-gate", &["punctual-core", "punctual-wire"]),
    ("punctual-load", &["punctual-core", "punctual-link", "punctual-runtime", "punctual-wire"]),
    ("punctual-sim", &["punctual-core", "punctual-load", "punctual-wire"]),
    ("punctual-study", &["punctual-load", "punctual-runtime"]),
    ("punctual-dashboard", &["punctual-runtime", "punctual-wire"]),
    (
        "punctual",
        &[
            "punctual-core",
            "punctual-dashboard",
            "punctual-link",
            "punctual-load",
            "punctual-process",
            "punctual-redis",
            "punctual-runtime",
            "punctual-sim",
            "punctual-study",
            "punctual-taskfile",
            "punctual-wire",
        ],
    ),
];

/// Only the program may use these: a library leaves arguments and untyped errors to its caller.
const PROGRAM_ONLY: [&str; 2] = ["anyhow", "clap"];

/// Names and modules that would tie the core to one machine, one moment or one observer.
const CORE_BANNED_NAMES: [&str; 3] = ["Instant", "SystemTime", "tracing"];
const CORE_BANNED_MACROS: [&str; 5] = ["dbg", "eprint", "eprintln", "print", "println"];
const CORE_BANNED_MODULES: [&str; 3] = ["fs", "net", "thread"];

#[test]
fn no_crate_of_ours_depends_on_one_that_it_may_not() {
    expect_none("forbidden dependency edges", &forbidden_edges(&dependencies()));
}

#[test]
fn only_the_program_uses_clap_and_anyhow() {
    let offenders = misplaced_program_crates(&dependencies());
    expect_none("crates that belong to bin/punctual alone", &offenders);
}

#[test]
fn no_function_is_longer_than_seventy_lines() {
    let mut offenders = Vec::new();
    for source in sources() {
        for function in functions(&source.code) {
            if function.lines > FUNCTION_LINES_MAX {
                let Function { name, line, lines } = function;
                offenders.push(format!("{}:{line}: fn {name} has {lines} lines", source.path));
            }
        }
    }
    expect_none("functions over 70 lines", &offenders);
}

#[test]
fn no_file_is_longer_than_eight_hundred_lines() {
    let mut offenders = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            offenders.push(format!("{} has {lines} lines", source.path));
        }
    }
    expect_none("files over 800 lines", &offenders);
}

#[test]
fn no_line_is_longer_than_a_hundred_columns() {
    let mut offenders = Vec::new();
    for source in sources() {
        for (index, columns) in long_lines(&source.text) {
            offenders.push(format!("{}:{}: {columns} columns", source.path, index + 1));
        }
    }
    expect_none("lines over 100 columns", &offenders);
}

#[test]
fn unsafe_lives_only_in_sys_modules_of_link_runtime_and_process() {
    let mut offenders = Vec::new();
    for source in sources() {
        if !may_be_unsafe(&source.path) {
            let uses = words(&source.code).into_iter().filter(|(_, word)| *word == "unsafe");
            let lines = uses.map(|(at, _)| line_at(&source.code, at));
            offenders.extend(lines.map(|line| format!("{}:{line}", source.path)));
        }
    }
    expect_none("`unsafe` outside a sys module", &offenders);
}

#[test]
fn the_core_touches_no_clock_thread_socket_file_or_log() {
    let mut offenders = Vec::new();
    let mut files = 0;
    for source in sources().iter().filter(|source| source.path.starts_with("engine/core/src/")) {
        files += 1;
        for (line, name) in banned_in_core(&source.code) {
            offenders.push(format!("{}:{line}: {name}", source.path));
        }
    }
    assert!(files > 0, "engine/core/src was not found");
    expect_none("what engine/core must not touch", &offenders);
}

/// A Rust file of the repository.
struct Source {
    path: String,
    text: String,
    /// The text with comments and literals blanked.
    code: String,
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for path in files_under(&root(), "rs") {
        let text = read(&path);
        let code = code_only(&text);
        sources.push(Source { path: relative(&path), text, code });
    }
    let this = "bin/punctual/tests/it/tidy.rs";
    assert!(sources.iter().any(|source| source.path == this), "the scan did not even find {this}");
    sources
}

/// Every crate of ours with the names of all that it depends on: normal, development and build.
fn dependencies() -> Vec<(String, Vec<String>)> {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let mut crates = Vec::new();
    for package in metadata.packages {
        let names = package.dependencies.into_iter().map(|dependency| dependency.name).collect();
        crates.push((package.name.to_string(), names));
    }
    crates
}

fn forbidden_edges(crates: &[(String, Vec<String>)]) -> Vec<String> {
    let row_of = |name: &str| EDGES.iter().find(|(from, _)| *from == name);
    let mut offenders = Vec::new();
    for (from, dependencies) in crates {
        let Some((_, allowed)) = row_of(from) else {
            offenders.push(format!("{from} has no row in EDGES; decide what it may depend on"));
            continue;
        };
        for to in dependencies {
            if row_of(to).is_some() && !allowed.contains(&to.as_str()) {
                offenders.push(format!("{from} -> {to}"));
            }
        }
    }
    offenders
}

fn misplaced_program_crates(crates: &[(String, Vec<String>)]) -> Vec<String> {
    let mut offenders = Vec::new();
    for (from, dependencies) in crates.iter().filter(|(from, _)| from != "punctual") {
        for to in dependencies.iter().filter(|to| PROGRAM_ONLY.contains(&to.as_str())) {
            offenders.push(format!("{from} -> {to}"));
        }
    }
    offenders
}

fn long_lines(text: &str) -> Vec<(usize, usize)> {
    let columns = text.lines().map(|line| line.chars().count()).enumerate();
    columns.filter(|(_, columns)| *columns > LINE_COLUMNS_MAX).collect()
}

fn may_be_unsafe(path: &str) -> bool {
    let rooms = ["net/link/", "engine/runtime/", "engine/process/"];
    let room = rooms.iter().any(|room| path.starts_with(room));
    room && (path.ends_with("/sys.rs") || path.contains("/sys/"))
}

/// Line and name of everything in the code that the core must not use.
fn banned_in_core(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        let is_macro = code[at + word.len()..].starts_with('!');
        let banned_macro = is_macro && CORE_BANNED_MACROS.contains(&word);
        if banned_macro || CORE_BANNED_NAMES.contains(&word) {
            found.push((line_at(code, at), word.to_owned()));
        }
    }
    for (at, root) in code.match_indices("std::") {
        let path = &code[at + root.len()..];
        // Either one path, of which the first word counts, or a group in braces.
        let one_word = path.find(|character| !is_word(character));
        let end = if path.starts_with('{') { body_end(path) } else { one_word };
        for (_, word) in words(&path[..end.unwrap_or(path.len())]) {
            if CORE_BANNED_MODULES.contains(&word) {
                found.push((line_at(code, at), format!("std::{word}")));
            }
        }
    }
    found
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for pair in words(code).windows(2) {
        let [(at, keyword), (name_at, name)] = [pair[0], pair[1]];
        // Only space before the name: `fn(u8)` is a type and has none.
        if keyword != "fn" || !code[at + keyword.len()..name_at].trim().is_empty() {
            continue;
        }
        if let Some(end) = body_end(&code[name_at..]) {
            let lines = line_at(&code[at..], end + name_at - at);
            found.push(Function { name, line: line_at(code, at), lines });
        }
    }
    found
}

/// Where the first outermost pair of braces ends, or `None` if a semicolon comes before it.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, character) in code.char_indices() {
        match character {
            ';' if depth == 0 => return None,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '}' if depth <= 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The number of the line that holds this byte, counted from 1.
fn line_at(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Identifiers, keywords and numbers with the byte where each starts.
fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in code.char_indices().chain([(code.len(), ' ')]) {
        match (start, is_word(character)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                words.push((from, &code[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// The text with every comment and literal blanked; lines stay where they are.
fn code_only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = blank_end(&characters, at);
        if end == at {
            code.push(characters[at]);
            at += 1;
            continue;
        }
        let blanks = characters[at..end].iter().map(|it| if *it == '\n' { '\n' } else { ' ' });
        code.extend(blanks);
        at = end;
    }
    code
}

/// Where the comment or literal that starts here ends; `at` itself when none starts here.
fn blank_end(text: &[char], at: usize) -> usize {
    let next = text.get(at + 1);
    match text[at] {
        '/' if next == Some(&'/') => {
            text[at..].iter().position(|it| *it == '\n').map_or(text.len(), |len| at + len)
        }
        '/' if next == Some(&'*') => block_comment_end(text, at),
        '"' => string_end(text, at),
        '\'' => character_end(text, at),
        'r' if is_raw_prefix(text, at) => raw_string_end(text, at),
        _ => at,
    }
}

fn block_comment_end(text: &[char], at: usize) -> usize {
    let mut depth = 0_usize;
    let mut end = at;
    while end + 1 < text.len() {
        match (text[end], text[end + 1]) {
            ('/', '*') => {
                depth += 1;
                end += 2;
            }
            ('*', '/') if depth == 1 => return end + 2,
            ('*', '/') => {
                depth -= 1;
                end += 2;
            }
            _ => end += 1,
        }
    }
    text.len()
}

fn string_end(text: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < text.len() {
        match text[end] {
            '\\' => end += 2,
            '"' => return end + 1,
            _ => end += 1,
        }
    }
    text.len()
}

/// A quote starts a character literal or a lifetime; only the literal has a second one.
fn character_end(text: &[char], at: usize) -> usize {
    if text.get(at + 1) == Some(&'\\') {
        let tail = text.get(at + 3..).unwrap_or_default();
        return tail.iter().position(|it| *it == '\'').map_or(text.len(), |len| at + 3 + len + 1);
    }
    if text.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

/// Whether the letter `r` begins a word, alone or after the `b` or `c` of a byte or C string.
fn is_raw_prefix(text: &[char], at: usize) -> bool {
    let starts_word = |at: usize| at == 0 || !is_word(text[at - 1]);
    starts_word(at) || (matches!(text[at - 1], 'b' | 'c') && starts_word(at - 1))
}

fn raw_string_end(text: &[char], at: usize) -> usize {
    let hashes = text[at + 1..].iter().take_while(|it| **it == '#').count();
    let open = at + 1 + hashes;
    if text.get(open) != Some(&'"') {
        return at;
    }
    let mut end = open + 1;
    while end < text.len() {
        let closing = text[end + 1..].iter().take(hashes).filter(|it| **it == '#').count();
        if text[end] == '"' && closing == hashes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    text.len()
}

#[test]
fn the_scanner_sees_code_but_no_comment_and_no_literal() {
    let text = [
        "let a = \"unsafe \\\" unsafe\"; // unsafe",
        "/* unsafe /* unsafe */ unsafe */ let quote = '\"'; let tick = '\\'';",
        "let raw = br#\"unsafe \" unsafe\"#; fn f<'a>(b: &'a str) { unsafe { g(b) } }",
        "#![forbid(unsafe_code)]",
    ]
    .join("\n");
    let code = code_only(&text);
    let found = words(&code).into_iter().filter(|(_, word)| *word == "unsafe");
    assert_eq!(found.map(|(at, _)| line_at(&code, at)).collect::<Vec<_>>(), [3], "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn the_scanner_measures_functions_and_skips_declarations_and_types() {
    let code = [
        "trait T { fn declared(&self, a: [u8; 2]) -> u8; }",
        "type F = fn(u8) -> u8;",
        "pub const fn long(",
        "    a: [u8; 2],",
        ") -> u8",
        "where",
        "{",
        "    if a[0] > 1 { return 1; }",
        "    0",
        "}",
        "fn short() {}",
    ]
    .join("\n");
    let long = Function { name: "long", line: 3, lines: 8 };
    let short = Function { name: "short", line: 11, lines: 1 };
    assert_eq!(functions(&code), [long, short]);
}

/// Rows as [`dependencies`] makes them.
fn crates(rows: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let mut crates = Vec::new();
    for (from, to) in rows {
        crates.push(((*from).to_owned(), to.iter().map(|name| (*name).to_owned()).collect()));
    }
    crates
}

#[test]
fn the_rules_catch_what_they_forbid_and_nothing_else() {
    let good =
        crates(&[("punctual-core", &["punctual-wire", "zerocopy"]), ("punctual", &["clap"])]);
    assert_eq!(forbidden_edges(&good), Vec::<String>::new());
    assert_eq!(misplaced_program_crates(&good), Vec::<String>::new());
    let bad = crates(&[("punctual-core", &["punctual-link", "anyhow"]), ("newcomer", &[])]);
    assert_eq!(forbidden_edges(&bad).len(), 2);
    assert_eq!(misplaced_program_crates(&bad), ["punctual-core -> anyhow"]);

    let core = "use std::{fmt, thread};\nuse std::net::TcpStream;\nfn f() { println!(); print() }";
    let found = [(3, "println"), (1, "std::thread"), (2, "std::net")];
    assert_eq!(banned_in_core(core), found.map(|(line, name)| (line, name.to_owned())));
    assert!(banned_in_core("use std::fmt;\nfn net() { thread() }").is_empty());

    assert!(may_be_unsafe("net/link/src/sys.rs") && may_be_unsafe("engine/runtime/src/sys/cpu.rs"));
    assert!(may_be_unsafe("engine/process/src/sys/spawn.rs"));
    assert!(!may_be_unsafe("net/link/src/system.rs") && !may_be_unsafe("engine/core/src/sys.rs"));
    assert_eq!(long_lines(&format!("{}\n{}", "x".repeat(100), "é".repeat(101))), [(1, 101)]);
}

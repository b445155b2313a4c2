//! Lists of arguments, as a shell sees them.

use proptest::prelude::*;
use punctual_taskfile::quote_words;
use std::process::Command;

/// The words that `/bin/sh` makes of a line.
fn words_of(line: &str) -> Vec<String> {
    let output = Command::new("/bin/sh")
        .args(["-c", &format!("printf '%s\\0' {line}")])
        .output()
        .expect("every system that runs tasks has a shell");
    assert!(output.status.success(), "{line}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("the words were texts");
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn only_what_needs_it_is_quoted() {
    let cases: [(&[&str], &str); 8] = [
        (&["./run", "-n", "5", "--out=x"], "./run -n 5 '--out=x'"),
        (&["/bin/a.b_c-d", "x:y,z@h+1"], "/bin/a.b_c-d x:y,z@h+1"),
        (&["", "a"], "'' a"),
        (&["a", ""], "a ''"),
        (&["it's"], r"'it'\''s'"),
        (&["A=1", "b"], "'A=1' b"),
        (&["if", "while"], "'if' 'while'"),
        (&["~", "*", "é"], "'~' '*' 'é'"),
    ];
    for (words, line) in cases {
        assert_eq!(quote_words(words), line);
    }
}

#[test]
fn a_first_word_is_the_name_of_a_program_whatever_it_looks_like() {
    for word in ["A=1", "if", "!", "{", "(", "#", ">x", "2>x", "a;b", "~"] {
        let line = quote_words(&[word]);
        let output = Command::new("/bin/sh").args(["-c", &line]).output().expect("a shell");
        // 127: there is no such program.
        assert_eq!(output.status.code(), Some(127), "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_shell_sees_the_words_as_they_were(
        words in prop::collection::vec("[^\0]{0,20}", 1..20),
    ) {
        prop_assert_eq!(words_of(&quote_words(&words)), words);
    }
}

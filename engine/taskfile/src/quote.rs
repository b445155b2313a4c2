//! A list of arguments as one line for a POSIX shell.

/// Words that a shell takes for more than the name of a program, where a command begins.
const KEYWORDS: [&str; 18] = [
    "case",
    "coproc",
    "do",
    "done",
    "elif",
    "else",
    "esac",
    "fi",
    "for",
    "function",
    "if",
    "in",
    "select",
    "then",
    "time",
    "until",
    "while",
    "namespace",
];

/// Quotes the words so that a shell starts the first one with the others as its arguments,
/// whatever characters are in them.
#[must_use]
pub fn quote_words<W: AsRef<str>>(words: &[W]) -> String {
    let mut line = String::new();
    for word in words {
        let word = word.as_ref();
        if !line.is_empty() {
            line.push(' ');
        }
        if is_plain(word) {
            line.push_str(word);
        } else {
            line.push('\'');
            line.push_str(&word.replace('\'', r"'\''"));
            line.push('\'');
        }
    }
    line
}

/// Whether a shell would not see anything in it. `=` is left out, for it would make a variable of
/// the first word, and so are all characters that mean something in some shell.
fn is_plain(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,+@".contains(&byte);
    !word.is_empty() && word.bytes().all(is_plain) && !KEYWORDS.contains(&word)
}

//! The lines of a file that are to be tasks, each read into one buffer of bounded size.

use crate::{LINE_BYTES_MAX, TaskFileError};
use std::collections::VecDeque;
use std::io::{BufRead, Read};

/// Bytes of a line that is too long that are kept, to show them.
const CUT_BYTES: usize = 512;

/// What some editors put at the beginning of a file in UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The lines of a text, comments and empty ones among them, as a reader of task files sees them:
/// without their ends, and the first one without what some editors put before it.
#[must_use]
pub fn lines_of(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n');
    lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

/// A line that was read; its text is in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: usize,
    /// It is too long, and the text is its beginning.
    pub(crate) is_cut: bool,
}

/// What was seen of the file as a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LineFacts {
    /// It begins with a byte order mark.
    pub(crate) has_mark: bool,
    /// Lines that end in CR LF, and the first of them.
    pub(crate) returns: u64,
    pub(crate) first_return: usize,
}

/// Reads the lines that are not skipped.
pub(crate) struct Lines<R> {
    reader: R,
    /// Lines read so far.
    number: usize,
    /// Lines that were read ahead.
    head: VecDeque<(Line, Vec<u8>)>,
    facts: LineFacts,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, number: 0, head: VecDeque::new(), facts: LineFacts::default() }
    }

    pub(crate) fn facts(&self) -> &LineFacts {
        &self.facts
    }

    /// Reads ahead until there are `count` task lines to look at, or as many as there are.
    pub(crate) fn read_ahead(&mut self, count: usize) -> Result<(), TaskFileError> {
        while self.head.len() < count {
            let mut text = Vec::new();
            let Some(line) = self.read(&mut text)? else { break };
            self.head.push_back((line, text));
        }
        Ok(())
    }

    /// The lines that were read ahead, without those that are cut.
    pub(crate) fn head(&self) -> impl Iterator<Item = &[u8]> {
        self.head.iter().filter(|(line, _)| !line.is_cut).map(|(_, text)| text.as_slice())
    }

    /// Puts the next task line into the buffer, without its end. `None` at the end of the file.
    pub(crate) fn next_into(
        &mut self,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Line>, TaskFileError> {
        match self.head.pop_front() {
            Some((line, text)) => {
                *buffer = text;
                Ok(Some(line))
            }
            None => self.read(buffer),
        }
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Line>, TaskFileError> {
        loop {
            if !self.read_any(buffer)? {
                return Ok(None);
            }
            let is_cut = buffer.len() > LINE_BYTES_MAX;
            if !is_skipped(buffer) {
                buffer.truncate(if is_cut { CUT_BYTES } else { LINE_BYTES_MAX });
                return Ok(Some(Line { number: self.number, is_cut }));
            }
        }
    }

    /// Reads one line of whatever kind without its end: all of it, or more than the longest one
    /// may have. False at the end of the file.
    fn read_any(&mut self, buffer: &mut Vec<u8>) -> Result<bool, TaskFileError> {
        // Room for CR LF, so that a line of the greatest length still fits with it.
        const BYTES_MAX: usize = LINE_BYTES_MAX + 2;
        buffer.clear();
        let line = self.number;
        let failed = |source| TaskFileError::Read { line, source };
        let mut bounded = self.reader.by_ref().take(BYTES_MAX as u64);
        if bounded.read_until(b'\n', buffer).map_err(failed)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if buffer.last() == Some(&b'\n') {
            buffer.pop();
        } else if buffer.len() == BYTES_MAX {
            self.reader.skip_until(b'\n').map_err(failed)?;
            return Ok(true);
        }
        if self.number == 1 && buffer.starts_with(BYTE_ORDER_MARK) {
            buffer.drain(..BYTE_ORDER_MARK.len());
            self.facts.has_mark = true;
        }
        if buffer.last() == Some(&b'\r') {
            buffer.pop();
            self.facts.returns += 1;
            if self.facts.returns == 1 {
                self.facts.first_return = self.number;
            }
        }
        Ok(true)
    }
}

/// Whether a line is a comment or as good as empty: at most two characters without the blanks
/// around it, which is the original's rule.
fn is_skipped(text: &[u8]) -> bool {
    const CHARS_MAX: usize = 2;
    if text.starts_with(b"#") {
        return true;
    }
    match str::from_utf8(text) {
        Ok(text) => text.trim().chars().nth(CHARS_MAX).is_none(),
        Err(_) => text.trim_ascii().len() <= CHARS_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> (Vec<(usize, bool, Vec<u8>)>, LineFacts) {
        let mut lines = Lines::new(text);
        let (mut found, mut buffer) = (Vec::new(), Vec::new());
        while let Some(line) = lines.next_into(&mut buffer).unwrap() {
            found.push((line.number, line.is_cut, buffer.clone()));
        }
        (found, lines.facts)
    }

    fn whole(number: usize, text: &str) -> (usize, bool, Vec<u8>) {
        (number, false, text.as_bytes().to_vec())
    }

    #[test]
    fn comments_and_lines_of_two_characters_are_skipped_but_counted() {
        let text = "# a comment\n\n  ab \né\u{a0}é\nabc\n  #abc\n\u{a0}\u{a0}\u{a0}\nlast";
        let (found, _) = lines(text.as_bytes());
        // In the fourth line the blank is between the characters, not around them.
        let expected =
            [whole(4, "é\u{a0}é"), whole(5, "abc"), whole(6, "  #abc"), whole(8, "last")];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_the_end_of_a_line_is_taken_off() {
        let (found, facts) = lines(b"  one  \ntwo\r\nthr\ree\r\r\nfour\r");
        let expected =
            [whole(1, "  one  "), whole(2, "two"), whole(3, "thr\ree\r"), whole(4, "four")];
        assert_eq!(found, expected);
        assert_eq!((facts.returns, facts.first_return), (3, 2));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let (found, facts) = lines("\u{feff}# comment\n\u{feff}abc".as_bytes());
        assert_eq!(found, [whole(2, "\u{feff}abc")]);
        assert!(facts.has_mark);
    }

    #[test]
    fn the_lines_of_a_text_are_those_that_are_read_from_it() {
        let text = b"\xef\xbb\xbfone\r\ntwo \n\nfour";
        let all = lines_of(text);
        assert_eq!(all, [&b"one"[..], b"two ", b"", b"four"]);
        for (number, _, line) in lines(text).0 {
            assert_eq!(line, all[number - 1]);
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_is_whole_and_a_longer_one_is_cut() {
        for end in ["\n", "\r\n", ""] {
            let longest = "x".repeat(LINE_BYTES_MAX);
            let (found, _) = lines(format!("{longest}{end}").as_bytes());
            assert_eq!(found, [whole(1, &longest)], "{end:?}");
        }
        for beyond in [1, 2, 3, 4096] {
            let text = format!("{}\nnext\n", "x".repeat(LINE_BYTES_MAX + beyond));
            let (found, _) = lines(text.as_bytes());
            let cut = (1, true, vec![b'x'; CUT_BYTES]);
            assert_eq!(found, [cut, whole(2, "next")], "{beyond} bytes too many");
        }
    }

    #[test]
    fn lines_read_ahead_come_again() {
        let mut lines = Lines::new(b"one\ntwo\nthree\n".as_slice());
        lines.read_ahead(2).unwrap();
        assert_eq!(lines.head().collect::<Vec<_>>(), [b"one", b"two"]);
        let mut buffer = Vec::new();
        for (number, text) in [(1, "one"), (2, "two"), (3, "three")] {
            assert_eq!(lines.next_into(&mut buffer).unwrap().map(|line| line.number), Some(number));
            assert_eq!(buffer, text.as_bytes());
        }
        assert_eq!(lines.next_into(&mut buffer).unwrap(), None);
    }
}

//! Files as large as they get.

use crate::read;
use punctual_taskfile::{Format, ReadOptions, Separator, Summary, TaskStream, key_of, read_tasks};
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Write;
use std::io::{BufReader, Read};
use std::rc::Rc;

const LINES: usize = 100_000;

/// A line of the length that real ones have.
fn line(number: usize) -> String {
    format!(
        "shell:{}:2:1:/mnt/nfs/libCacheSim/_build/bin/cachesim /mnt/data/trace{number:06}.zst \
         oracleGeneral fifo,lru,arc,lirs,s3fifo,sieve 0.001,0.01,0.1 --ignore-obj-size 0 \
         --num-thread 1 --report-interval 3600 2> /mnt/nfs/log/{number:06}.err",
        number % 7
    )
}

#[test]
fn a_hundred_thousand_lines_are_as_many_tasks() {
    let mut text = String::new();
    for number in 0..LINES {
        // Every tenth one is bad.
        let bad = if number % 10 == 3 { "x" } else { "" };
        writeln!(text, "{bad}{}", line(number)).expect("a text has room");
    }
    let file = read(&text);
    assert_eq!(file.tasks.len(), LINES / 10 * 9);
    assert_eq!(file.bad.len() as u64 + file.bad_left_out, LINES as u64 / 10);
    assert_eq!((file.duplicates, file.format), (0, Format::Original));
    let last = file.tasks.last().expect("there are tasks");
    assert_eq!((last.line, last.key), (LINES, key_of(line(LINES - 1).as_bytes())));
    // Nothing is kept of a line but its command.
    assert!(file.tasks.iter().all(|task| task.command.capacity() == task.command.len()));

    let twice =
        read_tasks(text.as_bytes().chain(text.as_bytes()), &ReadOptions::default()).unwrap();
    assert_eq!((twice.tasks, twice.duplicates), (file.tasks, LINES as u64 / 10 * 9));
}

/// Makes up the lines of a file as they are read, and counts them for others to see.
struct Lines {
    made: Rc<Cell<usize>>,
    rest: Vec<u8>,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let number = self.made.get();
        if self.rest.is_empty() && number < LINES {
            self.rest = format!("{}\n", line(number)).into_bytes();
            self.made.set(number + 1);
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        Ok(count)
    }
}

#[test]
fn a_stream_reads_no_further_than_it_has_to() {
    let made = Rc::new(Cell::new(0));
    let reader = BufReader::new(Lines { made: Rc::clone(&made), rest: Vec::new() });
    let mut stream = TaskStream::new(reader, &ReadOptions::default()).unwrap();
    for number in 0..LINES {
        let task = stream.next().expect("there are more").unwrap();
        assert_eq!(task.line, number + 1);
        // A few lines are looked at to know the format.
        assert!(made.get() <= number + 100, "{} lines for task {number}", made.get());
    }
    assert!(stream.next().is_none());
    let expected =
        Summary { format: Format::Original, separator: Separator::Colon, ..Summary::default() };
    assert_eq!(stream.into_summary(), expected);
}

#[test]
fn a_long_chain_in_the_wrong_order_is_put_right() {
    let count = 20_000;
    let mut text = String::new();
    for id in (1..count).rev() {
        let after = id - 1;
        writeln!(text, "{{\"kind\": \"noop\", \"id\": {id}, \"after\": {after}}}").expect("room");
    }
    text += "{\"kind\": \"noop\", \"id\": 0}\n";
    let file = read(&text);
    assert_eq!(file.tasks.len(), count);
    let mut seen = HashSet::new();
    for task in &file.tasks {
        assert!(task.after_keys().iter().all(|key| seen.contains(key)), "{}", task.name);
        seen.insert(task.key);
    }
}

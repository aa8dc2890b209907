//! What commands print.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what commands are for")]

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::task::JoinHandle;

/// How often a line says how far a bar is that nobody sees.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Says how far a bar is, until it is dropped.
#[must_use]
pub struct Lines(JoinHandle<()>);

impl Drop for Lines {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where standard error is no terminal, and so shows no bar: lines there that say now and then how far it is. `show` is how its numbers
/// are written.
pub fn in_lines(bar: &ProgressBar, show: fn(u64) -> String) -> Option<Lines> {
    if is_watched() {
        return None;
    }
    let bar = bar.clone();
    Some(Lines(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LINE_EVERY).await;
            let so_far = show(bar.position());
            let of = bar
                .length()
                .filter(|length| *length > 0)
                .map_or_else(String::new, |length| format!(" of {}", show(length)));
            note(format!("{} {so_far}{of}", bar.message()).trim_start());
        }
    })))
}

/// Prints a line on standard output.
pub fn line(text: &str) {
    println!("{text}");
}

/// Prints a line on standard error, for people.
pub fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints a failure with all that caused it.
pub fn error(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Prints rows under headings, each column as wide as its widest entry.
pub fn table(headings: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let print = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    print(headings.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}

/// Whether a person reads standard error.
#[must_use]
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

//! What commands print.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what commands are for")]

use std::io::IsTerminal;

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

//! CSV (RFC 4180) with one frame per row.

use std::io::{self, Write};

use super::{ExportSource, said};

const COLUMNS: [&str; 14] = [
    "seq",
    "time",
    "session",
    "direction",
    "kind",
    "operation",
    "method",
    "target",
    "origin",
    "state",
    "error",
    "duration_ms",
    "size",
    "message",
];

/// Writes a row of column names and one row per frame.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{}\r\n", COLUMNS.join(","))?;
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        let (said, _) = said(frame);
        let cells = [
            row.seq.to_string(),
            source.iso(row.at),
            row.session.0.to_string(),
            row.direction.as_str().to_owned(),
            row.kind.to_string(),
            row.op().map_or_else(String::new, |op| op.0.to_string()),
            source.world.text(row.method).unwrap_or_default().to_owned(),
            source.world.text(row.target).unwrap_or_default().to_owned(),
            row.origin().as_str().to_owned(),
            source.state(row).join(" "),
            row.is_error.to_string(),
            row.duration()
                .map_or_else(String::new, |duration| format!("{:.3}", duration.as_secs_f64() * 1e3)),
            row.size.to_string(),
            said,
        ];
        write!(out, "{}\r\n", cells.map(|cell| quoted(&cell)).join(","))?;
    }
    Ok(())
}

fn quoted(cell: &str) -> String {
    // Spreadsheets would evaluate a cell that begins like a formula.
    const SIGNS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];
    let begins = cell.trim_start_matches([' ', '\n', '\u{feff}']);
    let is_formula = begins.starts_with(SIGNS) && cell.parse::<f64>().is_err();
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        assert_eq!(quoted("a"), "a");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(quoted(" =1+1"), "' =1+1");
        assert_eq!(quoted("-1.5"), "-1.5");
    }
}

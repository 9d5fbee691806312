//! A shell script that repeats the requests of the client: with curl over HTTP, or else through the
//! command line of the server.

use std::io::{self, Write};

use super::ExportSource;
use crate::mcp::Direction;

/// Writes the script.
///
/// # Errors
/// Returns an error if `out` cannot be written.
pub fn write(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "#!/bin/sh")?;
    writeln!(out, "# Requests of a client, recorded {}.", crate::clock::iso(source.header.anchor))?;
    let url = source.header.target.first().filter(|target| target.contains("://"));
    match url {
        Some(url) => over_http(source, url, out),
        None => over_stdio(source, out),
    }
}

fn over_http(source: &ExportSource<'_>, url: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# Secrets were not recorded: fill in what stands in [secret …].")?;
    writeln!(out, "# The server returns the session id in its response to initialize (Mcp-Session-Id).")?;
    writeln!(out, "url=${{1:-{}}}", quoted(url))?;
    writeln!(out, "session=${{2:-}}")?;
    // Paths are taken from the exchanges: a server may have several.
    let root: String = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let own = url.get(root.len()..).filter(|path| !path.is_empty()).unwrap_or("/");
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        if row.direction != Direction::ToServer {
            continue;
        }
        let body = String::from_utf8_lossy(frame.message.body()).into_owned();
        let title = source.world.text(row.target).or(source.world.text(row.method)).unwrap_or("");
        writeln!(out, "\n# #{} {}", row.seq, one_line(title))?;
        let method = frame.http.as_ref().map_or("POST", |http| &http.method);
        let path = frame.http.as_ref().map_or(own, |http| &http.path);
        let place = match path == own {
            true => "\"$url\"".to_owned(),
            false => quoted(&format!("{root}{path}")),
        };
        match method {
            "HEAD" => write!(out, "curl -sS -I {place}")?,
            // An event stream ends only when the client leaves it, so its time is limited.
            "GET" => write!(out, "curl -sS -N --max-time \"${{WAIT:-2}}\" {place}")?,
            method => write!(out, "curl -sS -X {} {place}", quoted(method))?,
        }
        let headers = frame.http.as_ref().map(|http| http.headers.to_vec()).unwrap_or_default();
        // Headers that belong to the connection or follow from the body are set by curl itself.
        const OWN: [&str; 8] = [
            "host",
            "content-length",
            "connection",
            "accept-encoding",
            "transfer-encoding",
            "user-agent",
            "origin",
            "keep-alive",
        ];
        for (name, value) in headers.iter().filter(|(name, _)| !OWN.contains(&&*name.to_ascii_lowercase())) {
            match name.eq_ignore_ascii_case("mcp-session-id") {
                true => write!(out, " \\\n  -H \"{name}: $session\"")?,
                false => write!(out, " \\\n  -H {}", quoted(&format!("{name}: {value}")))?,
            }
        }
        if headers.is_empty() && !body.is_empty() {
            write!(out, " \\\n  -H 'Content-Type: application/json'")?;
            write!(out, " \\\n  -H 'Accept: application/json, text/event-stream'")?;
        }
        if !body.is_empty() {
            write!(out, " \\\n  --data-raw {}", quoted(&body))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn over_stdio(source: &ExportSource<'_>, out: &mut dyn Write) -> io::Result<()> {
    let command: Vec<String> = source.header.target.iter().map(|word| quoted(word)).collect();
    writeln!(
        out,
        "# A server may answer out of order, and some exit at end of input: the sleep keeps it open."
    )?;
    let sessions = source.world.sessions.values();
    if let Some(directory) = sessions.filter_map(|session| session.opened.directory.as_ref()).next() {
        writeln!(out, "cd {} || exit", quoted(directory))?;
    }
    writeln!(out, "{{")?;
    for (row, record) in source.each() {
        let Some(frame) = record.frame() else { continue };
        if row.direction == Direction::ToServer && frame.message.is_rpc() {
            let line = crate::mcp::layout::one_line(&String::from_utf8_lossy(frame.message.body()));
            writeln!(out, "  printf '%s\\n' {}", quoted(&line))?;
        }
    }
    writeln!(out, "  sleep \"${{WAIT:-2}}\"")?;
    writeln!(out, "}} | {}", command.join(" "))
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("a-b/c"), "a-b/c");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(quoted(""), "''");
    }
}

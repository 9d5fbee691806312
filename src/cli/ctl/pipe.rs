//! `ctl pipe`: standard input and output joined to a control socket, for a screen on another machine.

use std::io;
use std::process::ExitCode;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::cli::failure::Failure;
use crate::control::reach::EngineSelector;

/// Copies in both directions until one side ends, then exits the process.
///
/// # Errors
/// Fails if not exactly one engine can be reached.
pub async fn run(selector: &EngineSelector) -> Result<ExitCode, Failure> {
    let stream = UnixStream::connect(selector.one().await?.path).await.map_err(Failure::peer)?;
    let (mut read, mut write) = stream.into_split();
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let up = async { tokio::io::copy(&mut input, &mut write).await.map(drop) };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = read.read(&mut buffer).await?;
            if length == 0 {
                return io::Result::Ok(());
            }
            output.write_all(&buffer[..length]).await?;
            // The peer may wait for bytes in the buffer: flush each chunk.
            output.flush().await?;
        }
    };
    // A side that is gone ends the copy normally, even with an error.
    let _ = tokio::select! {
        ended = up => ended,
        ended = down => ended,
    };
    // The thread that reads standard input may be blocked in its read; only the end of the process
    // ends it.
    std::process::exit(0)
}

//! `ctl pipe`: standard input and output joined to a control socket, for whoever is elsewhere.

use std::io;
use std::process::ExitCode;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::cli::failure::Failure;
use crate::control::reach::EngineSelector;

/// Copies both ways until one side ends.
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
            // What waits in a buffer may be what the other end waits for.
            output.flush().await?;
        }
    };
    // A side that is gone is how this ends.
    let _ = tokio::select! {
        ended = up => ended,
        ended = down => ended,
    };
    // The thread that reads standard input may be blocked in its read, which only the end of the
    // process ends.
    std::process::exit(0)
}

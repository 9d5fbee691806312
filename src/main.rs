//! Entry point of the `shadowcat` binary; the library contains the program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    shadowcat::cli::main(std::env::args_os())
}

//! The program; everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    shadowcat::cli::main(std::env::args_os())
}

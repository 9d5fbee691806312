#![forbid(unsafe_code)]
pub mod clock;
pub mod log;
pub mod mcp;

#![forbid(unsafe_code)]
pub mod mcp;

//! Content codings (RFC 9110, 8.4): a copy of a body is decoded for the record; the body itself
//! goes on as it came.

use async_compression::tokio::write::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use tokio::io::AsyncWriteExt;

/// Decodes what is fed, piece by piece.
pub enum Decoder {
    Gzip(GzipDecoder<Vec<u8>>),
    Brotli(BrotliDecoder<Vec<u8>>),
    Zstd(ZstdDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
}

/// Why a body cannot be looked into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    #[error("content coding {0:?} is unknown")]
    Unknown(String),
    #[error("the body is not what its content coding says: {0}")]
    Broken(String),
}

impl Decoder {
    /// The decoder for a body with these headers; none where it is not encoded.
    ///
    /// # Errors
    /// [`CodingError::Unknown`]; several codings on top of each other are not known either.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, CodingError> {
        let value = headers.get(CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let Some(coding) = value else { return Ok(None) };
        Ok(match coding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(Self::Gzip(GzipDecoder::new(Vec::new()))),
            "br" => Some(Self::Brotli(BrotliDecoder::new(Vec::new()))),
            "zstd" => Some(Self::Zstd(ZstdDecoder::new(Vec::new()))),
            "deflate" => Some(Self::Zlib(ZlibDecoder::new(Vec::new()))),
            _ => return Err(CodingError::Unknown(coding.into_owned())),
        })
    }

    /// Decodes one more piece, to no more than `most` bytes: a small body may unfold to a huge one.
    ///
    /// # Errors
    /// [`CodingError::Broken`].
    pub async fn feed(&mut self, bytes: &[u8], most: usize) -> Result<Vec<u8>, CodingError> {
        /// Encoded bytes taken at a time, so that the decoded ones can be bounded.
        const DECODE_BYTES: usize = 4096;
        macro_rules! with {
            ($decoder:ident => $body:expr) => {
                match self {
                    Self::Gzip($decoder) => $body,
                    Self::Brotli($decoder) => $body,
                    Self::Zstd($decoder) => $body,
                    Self::Zlib($decoder) => $body,
                }
            };
        }
        let mut out = Vec::new();
        for step in bytes.chunks(DECODE_BYTES) {
            with!(decoder => {
                decoder.write_all(step).await.map_err(broken)?;
                decoder.flush().await.map_err(broken)?;
                out.append(decoder.get_mut());
            });
            if out.len() >= most {
                break;
            }
        }
        out.truncate(most);
        Ok(out)
    }
}

fn broken(error: std::io::Error) -> CodingError {
    CodingError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};

    fn decoder(coding: &'static str) -> Result<Option<Decoder>, CodingError> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static(coding))]);
        Decoder::of(&headers)
    }

    #[tokio::test]
    async fn pieces_come_out_as_they_go_in() {
        let text = b"data: {\"jsonrpc\":\"2.0\"}\n\n".repeat(50);
        macro_rules! round {
            ($encoder:ident, $coding:literal) => {
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(&text).await.unwrap();
                encoder.shutdown().await.unwrap();
                let encoded = encoder.into_inner();
                let mut decoder = decoder($coding).unwrap().unwrap();
                let mut decoded = Vec::new();
                for piece in encoded.chunks(7) {
                    decoded.extend(decoder.feed(piece, usize::MAX).await.unwrap());
                }
                assert_eq!(decoded, text, $coding);
            };
        }
        round!(GzipEncoder, "gzip");
        round!(BrotliEncoder, "br");
        round!(ZstdEncoder, "zstd");
    }

    #[tokio::test]
    async fn bombs_and_rubbish_are_bounded() {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(&vec![0; 10 << 20]).await.unwrap();
        encoder.shutdown().await.unwrap();
        let bomb = encoder.into_inner();
        assert_eq!(decoder("gzip").unwrap().unwrap().feed(&bomb, 1000).await.unwrap().len(), 1000);
        assert!(decoder("gzip").unwrap().unwrap().feed(b"not gzip at all", 1000).await.is_err());
        assert!(matches!(decoder("lzma"), Err(CodingError::Unknown(_))));
        assert!(decoder("identity").unwrap().is_none());
    }
}

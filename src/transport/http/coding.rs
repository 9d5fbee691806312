//! Content codings (RFC 9110, 8.4). A copy of a body is decoded for the record; the body itself is
//! passed on unchanged.

use std::io::Write;

use async_compression::tokio::write::{BrotliDecoder, ZstdDecoder};
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures_util::stream::unfold;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::AsyncWriteExt;

use super::HttpBody;

/// A decoder of one content coding, which decodes a body piece by piece.
pub enum Decoder {
    /// `gzip` and `x-gzip`, of one member or several (RFC 1952, 2.2).
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// `br`.
    Brotli(BrotliDecoder<Vec<u8>>),
    /// `zstd`.
    Zstd(ZstdDecoder<Vec<u8>>),
    /// `deflate`, whose first byte has not come.
    Deflate,
    /// `deflate` in the zlib format.
    Zlib(ZlibDecoder<Vec<u8>>),
    /// `deflate` without the zlib header, as some servers send it (RFC 9110, 8.4.1.2).
    Raw(DeflateDecoder<Vec<u8>>),
}

/// The reason why a body cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// No decoder exists for the content coding named.
    #[error("unsupported content coding {0:?}")]
    Unknown(String),
    /// The bytes do not follow their content coding; the text is the decoder's error.
    #[error("the body does not match its content coding: {0}")]
    Broken(String),
}

impl Decoder {
    /// Returns the decoder for a body with these headers, or `None` if the body is not encoded.
    ///
    /// # Errors
    /// [`CodingError::Unknown`], also for a combination of several codings.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, CodingError> {
        let value = headers.get(CONTENT_ENCODING).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let Some(coding) = value else { return Ok(None) };
        Ok(match coding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => None,
            "gzip" | "x-gzip" => Some(Self::Gzip(MultiGzDecoder::new(Vec::new()))),
            "br" => Some(Self::Brotli(BrotliDecoder::new(Vec::new()))),
            "zstd" => Some(Self::Zstd(ZstdDecoder::new(Vec::new()))),
            "deflate" => Some(Self::Deflate),
            _ => return Err(CodingError::Unknown(coding.into_owned())),
        })
    }

    /// Decodes one more piece, to at most `most` bytes, since a small body can decode to a huge one.
    ///
    /// # Errors
    /// [`CodingError::Broken`] if the bytes do not follow the content coding.
    pub async fn feed(&mut self, bytes: &[u8], most: usize) -> Result<Vec<u8>, CodingError> {
        /// Encoded bytes per step, so that the decoded ones can be bounded.
        const DECODE_BYTES: usize = 4096;
        if let (Self::Deflate, Some(first)) = (&*self, bytes.first()) {
            // The method of compression in a zlib header is 8 (RFC 1950, 2.2).
            *self = match first & 0x0f {
                8 => Self::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Self::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        macro_rules! step {
            ($decoder:ident, $bytes:ident $(, $wait:tt)?) => {{
                $decoder.write_all($bytes)$(.$wait)?.map_err(broken)?;
                $decoder.flush()$(.$wait)?.map_err(broken)?;
                std::mem::take($decoder.get_mut())
            }};
        }
        let mut out = Vec::new();
        for step in bytes.chunks(DECODE_BYTES) {
            out.append(&mut match self {
                Self::Gzip(decoder) => step!(decoder, step),
                Self::Zlib(decoder) => step!(decoder, step),
                Self::Raw(decoder) => step!(decoder, step),
                Self::Brotli(decoder) => step!(decoder, step, await),
                Self::Zstd(decoder) => step!(decoder, step, await),
                Self::Deflate => Vec::new(),
            });
            if out.len() >= most {
                break;
            }
        }
        out.truncate(most);
        Ok(out)
    }
}

/// Returns a body without its content coding, decoded as it arrives.
pub fn decoded(body: HttpBody, decoder: Decoder) -> HttpBody {
    /// Encoded bytes per step: at most a few megabytes come out of them, whatever the coding.
    const STEP_BYTES: usize = 4096;
    let stream = unfold(Some((body, decoder, Bytes::new())), |state| async move {
        let (mut body, mut decoder, mut encoded) = state?;
        loop {
            if encoded.is_empty() {
                match body.frame().await? {
                    Err(error) => return Some((Err(error), None)),
                    Ok(frame) => encoded = frame.into_data().unwrap_or_default(),
                }
                continue;
            }
            let step = encoded.split_to(encoded.len().min(STEP_BYTES));
            match decoder.feed(&step, usize::MAX).await {
                Ok(out) if out.is_empty() => {}
                Ok(out) => return Some((Ok(Frame::data(Bytes::from(out))), Some((body, decoder, encoded)))),
                Err(error) => return Some((Err(error.into()), None)),
            }
        }
    });
    StreamBody::new(Box::pin(stream)).boxed_unsync()
}

fn broken(error: std::io::Error) -> CodingError {
    CodingError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::tokio::write::{BrotliEncoder, ZstdEncoder};
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn decoder(coding: &'static str) -> Result<Option<Decoder>, CodingError> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static(coding))]);
        Decoder::of(&headers)
    }

    #[tokio::test]
    async fn pieces_come_out_as_they_go_in() {
        let text = b"data: {\"jsonrpc\":\"2.0\"}\n\n".repeat(50);
        let mut encoded = vec![("gzip", [gzip(&text[..700]), gzip(&text[700..])].concat())];
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).unwrap();
        encoded.push(("deflate", encoder.finish().unwrap()));
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&text).unwrap();
        encoded.push(("deflate", encoder.finish().unwrap()));
        let mut encoder = BrotliEncoder::new(Vec::new());
        encoder.write_all(&text).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoded.push(("br", encoder.into_inner()));
        let mut encoder = ZstdEncoder::new(Vec::new());
        encoder.write_all(&text).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoded.push(("zstd", encoder.into_inner()));
        for (coding, encoded) in encoded {
            let mut decoder = decoder(coding).unwrap().unwrap();
            let mut decoded = Vec::new();
            for piece in encoded.chunks(7) {
                decoded.extend(decoder.feed(piece, usize::MAX).await.unwrap());
            }
            assert_eq!(decoded, text, "{coding}");
        }
    }

    #[tokio::test]
    async fn bombs_and_rubbish_are_bounded() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert_eq!(decoder("gzip").unwrap().unwrap().feed(&bomb, 1000).await.unwrap().len(), 1000);
        assert!(decoder("gzip").unwrap().unwrap().feed(b"not gzip at all", 1000).await.is_err());
        assert!(matches!(decoder("lzma"), Err(CodingError::Unknown(_))));
        assert!(decoder("identity").unwrap().is_none());
    }
}

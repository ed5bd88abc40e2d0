//! What of a gRPC connection's bytes must repeat: everything but header blocks.
//!
//! Why: the gRPC server puts the machine's date into them, and compresses it. Their frames count, their contents and
//! lengths do not.

use super::trace::Fnv;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// One direction of one connection.
pub struct Frames {
    head: Vec<u8>,
    /// Bytes of the present frame, or of the preface, still to come.
    rest: usize,
    is_header_block: bool,
}

impl Frames {
    /// What the side that dialled sends, or the other.
    pub fn new(is_client: bool) -> Self {
        Self { head: Vec::new(), rest: if is_client { PREFACE.len() } else { 0 }, is_header_block: false }
    }

    /// Takes bytes as they are sent and gives what counts of them.
    pub fn digest(&mut self, mut bytes: &[u8]) -> u64 {
        let mut hash = Fnv::default();
        while !bytes.is_empty() {
            if self.rest > 0 {
                let (now, later) = bytes.split_at(self.rest.min(bytes.len()));
                self.rest -= now.len();
                bytes = later;
                if !self.is_header_block {
                    // Byte by byte, so that it does not matter how the bytes were cut into writes.
                    now.iter().for_each(|byte| hash.number(u64::from(*byte)));
                }
                continue;
            }
            let (now, later) = bytes.split_at((FRAME_HEAD - self.head.len()).min(bytes.len()));
            self.head.extend_from_slice(now);
            bytes = later;
            if self.head.len() == FRAME_HEAD {
                let length = [0, self.head[0], self.head[1], self.head[2]];
                self.rest = u32::from_be_bytes(length) as usize;
                self.is_header_block = matches!(self.head[3], HEADERS | CONTINUATION);
                let counts = if self.is_header_block { &self.head[3..] } else { &self.head[..] };
                hash.add(counts);
                self.head.clear();
            }
        }
        hash.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0, 0, 0, 0, 1]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn data_counts_and_header_blocks_do_not() {
        let digest = |frames: &[Vec<u8>]| Frames::new(false).digest(&frames.concat());
        let plain = digest(&[frame(HEADERS, b"date: one"), frame(0, b"data")]);
        assert_eq!(plain, digest(&[frame(HEADERS, b"date: eleven"), frame(0, b"data")]));
        assert_ne!(plain, digest(&[frame(HEADERS, b"date: one"), frame(0, b"dato")]));
        assert_ne!(plain, digest(&[frame(0, b"data")]));
    }

    #[test]
    fn a_client_begins_with_its_preface() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(HEADERS, b"abc"));
        let mut frames = Frames::new(true);
        frames.digest(&bytes);
        assert_eq!((frames.rest, frames.head.len(), frames.is_header_block), (0, 0, true));
    }
}

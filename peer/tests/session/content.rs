//! Published files: kept for the hubs, given by hash.

use std::sync::Arc;

use loop_proto::{
    content::{ContentHash, PIECE_BYTES_MAX},
    v1::{self, hub_to_peer, rows_request},
};
use sha2::{Digest, Sha256};

use super::{
    Peer,
    backend::MemoryBackend,
    hub::{self, Conversation, Hub},
};

async fn ask(talk: &mut Conversation, kind: rows_request::Kind) -> v1::RowsReply {
    talk.say(hub::ask(1, 0, kind)).await;
    talk.rows().await
}

fn sha256(bytes: &[u8]) -> bytes::Bytes {
    Sha256::digest(bytes).to_vec().into()
}

/// The question for a published file from `offset` on.
fn part(file: &[u8], offset: u64) -> rows_request::Kind {
    let (sha256, size) = (sha256(file), file.len() as u64);
    rows_request::Kind::Content(v1::ContentPart { sha256, size, offset, path: "/chat.js".into() })
}

/// The order to keep `data` of a published file.
fn piece(file: &[u8], offset: usize, data: &[u8]) -> rows_request::Kind {
    let (sha256, size, offset) = (sha256(file), file.len() as u64, offset as u64);
    let data = data.to_vec().into();
    rows_request::Kind::Keep(v1::ContentPiece { sha256, size, offset, data, path: "/chat.js".into() })
}

#[tokio::test]
async fn a_published_file_is_kept_given_in_pieces_and_kept_through_a_restart() {
    let mut hub = Hub::start(1).await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let file: Vec<u8> = (0..PIECE_BYTES_MAX + 10).map(|at| at as u8).collect();
    let peer = Peer::start_with(&[&hub], dir.clone(), MemoryBackend::new(0), |_| {});
    let (mut talk, _) = hub.greet().await;
    let told = ask(&mut talk, piece(&file, 0, b"")).await;
    assert!(!told.refused && !told.kept, "not there, and it would be taken");
    assert!(!ask(&mut talk, piece(&file, 0, &file[..PIECE_BYTES_MAX])).await.kept);
    assert!(ask(&mut talk, part(&file, 0)).await.refused, "half a file is none");
    assert!(ask(&mut talk, piece(&file, PIECE_BYTES_MAX, &file[PIECE_BYTES_MAX..])).await.kept);
    assert!(ask(&mut talk, piece(b"lie", 0, b"lia")).await.refused, "bytes of another hash");
    peer.stop().await.unwrap();

    let _peer = Peer::start_with(&[&hub], dir.clone(), MemoryBackend::new(0), |_| {});
    let (mut talk, _) = hub.greet().await;
    assert!(ask(&mut talk, piece(&file, 0, b"")).await.kept);
    assert_eq!(ask(&mut talk, part(&file, 0)).await.content, &file[..PIECE_BYTES_MAX]);
    assert_eq!(ask(&mut talk, part(&file, PIECE_BYTES_MAX as u64)).await.content, &file[PIECE_BYTES_MAX..]);

    let hash = ContentHash(Sha256::digest(&file).into());
    std::fs::write(dir.path().join("content").join(hash.to_string()), "damaged").unwrap();
    assert!(ask(&mut talk, part(&file, 0)).await.refused, "what is damaged is not sent");
    assert!(!ask(&mut talk, piece(&file, 0, b"")).await.kept, "and taken anew");
}

#[tokio::test]
async fn the_volunteers_own_folder_gives_what_is_published_there_and_nothing_else() {
    let mut hub = Hub::start(1).await;
    let www = tempfile::tempdir().unwrap();
    std::fs::write(www.path().join("chat.js"), "let a;").unwrap();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let root = www.path().to_owned();
    let _peer =
        Peer::start_with(&[&hub], dir.clone(), MemoryBackend::new(0), |flags| flags.static_dir = Some(root));
    let (mut talk, _) = hub.greet().await;
    assert_eq!(ask(&mut talk, part(b"let a;", 0)).await.content, &b"let a;"[..]);
    assert!(ask(&mut talk, part(b"let b;", 0)).await.refused, "another file is published there");
    assert!(ask(&mut talk, piece(b"let a;", 0, b"")).await.kept, "nothing has to be sent for it");
    std::fs::remove_file(www.path().join("chat.js")).unwrap();
    assert_eq!(ask(&mut talk, part(b"let a;", 0)).await.content, &b"let a;"[..]);
}

#[tokio::test]
async fn what_is_published_no_more_goes_and_what_has_just_come_stays() {
    let mut hub = Hub::start(1).await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let _peer = Peer::start_with(&[&hub], dir.clone(), MemoryBackend::new(0), |_| {});
    let (mut talk, _) = hub.greet().await;
    for file in [b"kept", b"old!", b"new!"] {
        assert!(ask(&mut talk, piece(file, 0, file)).await.kept);
    }
    let path = |file: &[u8]| {
        let hash = ContentHash(Sha256::digest(file).into());
        dir.path().join("content").join(hash.to_string())
    };
    for file in [b"kept", b"old!"] {
        let opened = std::fs::File::options().write(true).open(path(file)).unwrap();
        opened.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    talk.say(hub_to_peer::Kind::ContentKept(v1::ContentKept { sha256: vec![sha256(b"kept")] })).await;
    for _ in 0..500 {
        if !path(b"old!").exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(!path(b"old!").exists() && path(b"kept").exists() && path(b"new!").exists());
    assert!(ask(&mut talk, part(b"old!", 0)).await.refused);
}

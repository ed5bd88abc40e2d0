//! Published files: what joins the manifest, what leaves it, what is refused.

use loop_proto::{
    content::{FILE_BYTES_MAX, FILES_MAX, FILES_PER_COMMAND_MAX, PATH_BYTES_MAX, type_of},
    v1::{self, RejectionCode, command::Body, outcome::Kind},
};
use loop_raft_store::machine::{Bounds, HubState, apply_command, snapshot};

struct Hubs {
    state: HubState,
    commands: u64,
}

impl Hubs {
    /// With peers p1 to p4.
    fn new() -> Self {
        let mut hubs = Self { state: HubState::new(Bounds::STANDARD), commands: 0 };
        for peer in 1..=4 {
            let secret_hash = vec![peer; 32].into();
            let name = format!("peer-{peer}");
            hubs.run(Body::RegisterPeer(v1::RegisterPeer { name, secret_hash, ..Default::default() }));
        }
        hubs
    }

    fn run(&mut self, body: Body) -> Kind {
        self.commands += 1;
        let request_id = u128::from(self.commands).to_be_bytes().to_vec().into();
        let command = v1::Command { request_id, at_ms: self.commands, body: Some(body) };
        let applied = apply_command(&mut self.state, command);
        self.state.check_invariants().unwrap();
        applied.outcome.kind.unwrap()
    }

    fn publish(&mut self, entries: Vec<v1::ContentEntry>) -> Result<(), RejectionCode> {
        told(self.run(Body::PublishContent(v1::PublishContent { entries })))
    }

    fn remove(&mut self, paths: &[&str]) -> Result<(), RejectionCode> {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        told(self.run(Body::RemoveContent(v1::RemoveContent { paths })))
    }

    fn paths(&self) -> Vec<&str> {
        self.state.manifest().after("").map(|(path, _)| path.as_str()).collect()
    }
}

fn told(kind: Kind) -> Result<(), RejectionCode> {
    match kind {
        Kind::Done(_) => Ok(()),
        Kind::Rejection(no) => Err(no.code()),
        other => panic!("{other:?}"),
    }
}

fn entry(path: &str, hash: u8) -> v1::ContentEntry {
    let sha256 = vec![hash; 32].into();
    let kind = type_of(path).into();
    v1::ContentEntry { path: path.to_owned(), sha256, size: 5, r#type: kind, holders: vec![1, 3] }
}

#[test]
fn files_join_the_manifest_take_one_anothers_place_and_leave_it() {
    let mut hubs = Hubs::new();
    hubs.publish(vec![entry("/b.css", 2), entry("/a.js", 1)]).unwrap();
    hubs.publish(vec![entry("/a.js", 9), entry("/c/d.png", 3)]).unwrap();
    assert_eq!(hubs.paths(), ["/a.js", "/b.css", "/c/d.png"]);
    let file = hubs.state.manifest().get("/a.js").unwrap();
    assert_eq!((file.hash.0, file.kind, file.size), ([9; 32], v1::ContentType::Javascript, 5));
    assert_eq!(file.to_wire("/a.js"), entry("/a.js", 9));
    let of_p3 = hubs.state.manifest().held_by(loop_proto::ids::PeerId::new(3).unwrap()).count();
    assert_eq!(of_p3, 3);
    hubs.remove(&["/b.css", "/never-there"]).unwrap();
    assert_eq!(hubs.paths(), ["/a.js", "/c/d.png"]);
    assert_eq!(hubs.state.counts().content_files, 2);
}

#[test]
fn the_manifest_outlives_a_snapshot_and_is_part_of_its_bytes() {
    let mut hubs = Hubs::new();
    hubs.publish(vec![entry("/a.js", 1), entry("/b.css", 2)]).unwrap();
    let bytes = snapshot::encode(&hubs.state);
    let read = snapshot::decode(&bytes).unwrap();
    assert!(read == hubs.state);
    hubs.remove(&["/a.js"]).unwrap();
    assert!(read.manifest().get("/a.js").is_some(), "a copy stays as it was");
    assert_ne!(snapshot::encode(&hubs.state), bytes);
}

#[test]
fn what_can_be_no_file_is_refused_and_changes_nothing() {
    let mut hubs = Hubs::new();
    let bad: [fn(&mut v1::ContentEntry); 10] = [
        |e| e.path = "a.js".into(),
        |e| e.path = "/../a.js".into(),
        |e| e.path = format!("/{}", "a".repeat(PATH_BYTES_MAX)),
        |e| e.sha256 = vec![1; 31].into(),
        |e| e.size = FILE_BYTES_MAX + 1,
        |e| e.r#type = 99,
        |e| e.holders = vec![],
        |e| e.holders = vec![0],
        |e| e.holders = vec![1, 1],
        |e| e.holders = vec![1, 2, 3, 4],
    ];
    for (number, change) in bad.into_iter().enumerate() {
        let mut wrong = entry("/a.js", 1);
        change(&mut wrong);
        let refused = hubs.publish(vec![entry("/fine.js", 2), wrong]);
        assert_eq!(refused, Err(RejectionCode::Malformed), "entry {number}");
    }
    assert_eq!(hubs.publish(vec![entry("/a.js", 1), entry("/a.js", 2)]), Err(RejectionCode::Malformed));
    let unknown = v1::ContentEntry { holders: vec![1, 9], ..entry("/a.js", 1) };
    assert_eq!(hubs.publish(vec![unknown]), Err(RejectionCode::UnknownPeer));
    assert_eq!(hubs.remove(&["../a"]), Err(RejectionCode::Malformed));
    assert!(hubs.state.manifest().is_empty());
}

#[test]
fn a_command_and_the_manifest_are_bounded() {
    let mut hubs = Hubs::new();
    let many = |from: usize, to: usize| (from..to).map(|n| entry(&format!("/{n:05}"), 1)).collect::<Vec<_>>();
    assert_eq!(hubs.publish(many(0, FILES_PER_COMMAND_MAX + 1)), Err(RejectionCode::Malformed));
    let mut at = 0;
    while at < FILES_MAX {
        let to = (at + FILES_PER_COMMAND_MAX).min(FILES_MAX);
        hubs.publish(many(at, to)).unwrap();
        at = to;
    }
    assert_eq!(hubs.publish(vec![entry("/one-more", 1)]), Err(RejectionCode::Full));
    hubs.publish(vec![entry("/00000", 7)]).unwrap();
    hubs.remove(&["/00001"]).unwrap();
    hubs.publish(vec![entry("/one-more", 1)]).unwrap();
}

//! Published files: which may join the manifest, which leave it.

use std::collections::BTreeMap;

use loop_proto::{
    content::FILES_MAX,
    v1::{self, outcome::Kind},
};

use super::{
    super::{content::ContentFile, evolve::Change, state::HubState},
    decision::{Decided, Decision, full, known_peer},
};

pub(super) fn publish(state: &HubState, files: BTreeMap<String, ContentFile>) -> Decided {
    for peer in files.values().flat_map(|file| &file.holders) {
        known_peer(state, *peer)?;
    }
    let new = files.keys().filter(|path| state.manifest.get(path).is_none()).count();
    if state.manifest.len() + new > FILES_MAX {
        return Err(full(FILES_MAX as u64));
    }
    let changed = files.into_iter().filter(|(path, file)| state.manifest.get(path) != Some(file));
    let changes = changed.map(|(path, file)| Change::ContentPublished { path, file }).collect();
    Ok(Decision { answer: Kind::Done(v1::Done {}), changes })
}

pub(super) fn remove(state: &HubState, paths: Vec<String>) -> Decision {
    let known = paths.into_iter().filter(|path| state.manifest.get(path).is_some());
    let changes = known.map(|path| Change::ContentRemoved { path }).collect();
    Decision { answer: Kind::Done(v1::Done {}), changes }
}

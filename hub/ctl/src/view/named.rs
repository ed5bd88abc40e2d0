//! Below a table of ids: what owners called those peers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    super::{names::Names, table::Width},
    View,
};

/// Names shown below one table.
const NAMES_SHOWN: usize = 40;

/// A view, and the names of the peers in it.
#[derive(Debug, Serialize)]
pub struct Named<V> {
    #[serde(flatten)]
    view: V,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    peer_names: BTreeMap<u32, String>,
}

impl<V> Named<V> {
    pub fn new(view: V, peers: impl IntoIterator<Item = u32>, names: &Names) -> Self {
        let named = |peer: u32| Some((peer, names.name(peer)?.to_owned()));
        Self { view, peer_names: peers.into_iter().filter_map(named).collect() }
    }

    fn legend(&self, width: Width) -> String {
        if self.peer_names.is_empty() {
            return String::new();
        }
        let shown = self.peer_names.iter().take(NAMES_SHOWN).map(|(peer, name)| format!("p{peer} {name}"));
        let mut text = format!("peers: {}", shown.collect::<Vec<_>>().join(", "));
        if self.peer_names.len() > NAMES_SHOWN {
            text += ", … (`hubctl peers` lists them)";
        }
        width.wrap(&text, 7)
    }
}

impl<V: View> View for Named<V> {
    fn text(&self, now_ms: u64) -> String {
        self.text_within(now_ms, Width::USUAL)
    }

    fn text_within(&self, now_ms: u64, width: Width) -> String {
        self.view.text_within(now_ms, width) + &self.legend(width)
    }
}

#[cfg(test)]
mod tests {
    use loop_proto::v1;

    use super::*;

    #[derive(Serialize)]
    struct Table {
        rows: u32,
    }

    impl View for Table {
        fn text(&self, _now_ms: u64) -> String {
            "a table\n".to_owned()
        }
    }

    #[test]
    fn names_stand_below_the_ids_and_beside_the_answer() {
        let peer = |peer_id, name: &str| v1::PeerInfo { peer_id, name: name.into(), ..Default::default() };
        let names = Names::new(vec![peer(1, "attic"), peer(2, "cellar"), peer(3, "loft")]);
        let view = Named::new(Table { rows: 7 }, [2, 1, 2, 9], &names);
        assert_eq!(view.text(0), "a table\npeers: p1 attic, p2 cellar\n");
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(json, r#"{"rows":7,"peer_names":{"1":"attic","2":"cellar"}}"#);
        assert_eq!(Named::new(Table { rows: 7 }, [], &names).text(0), "a table\n");
        let many = (1..100).map(|id| peer(id, "a-peer-with-a-long-name")).collect();
        let text = Named::new(Table { rows: 7 }, 1..100, &Names::new(many)).text(0);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("p40 ") && !text.contains("p41 ") && text.contains("hubctl peers"), "{text}");
    }
}

//! The hubs of the group and how to reach each of them. One channel per hub, shared by everything that talks to it.

use std::{collections::BTreeMap, sync::Arc};

use loop_net::{
    channel,
    group_secret::{HubChannel, ShowSecret},
    io::Io,
};
use loop_proto::v1;
use parking_lot::Mutex;

/// The hubs this one knows of.
pub struct Group {
    own: v1::HubNode,
    io: Io,
    secret: ShowSecret,
    members: Mutex<BTreeMap<u64, Member>>,
}

struct Member {
    node: v1::HubNode,
    channel: HubChannel,
}

impl Group {
    /// A group that so far is this hub alone. The others are shown `secret`.
    pub fn new(own: v1::HubNode, io: Io, secret: ShowSecret) -> Arc<Self> {
        Arc::new(Self { own, io, secret, members: Mutex::default() })
    }

    /// This hub's id.
    pub fn own_id(&self) -> u64 {
        self.own.node_id
    }

    /// Takes note of a hub, or of its new address.
    pub fn learn(&self, node: v1::HubNode) {
        if node.node_id == self.own.node_id {
            return;
        }
        let mut members = self.members.lock();
        if members.get(&node.node_id).is_some_and(|known| known.node == node) {
            return;
        }
        match channel::connect_lazy(&self.io, &node.grpc_addr) {
            Ok(channel) => {
                let channel = self.secret.on(channel);
                members.insert(node.node_id, Member { node, channel });
            }
            Err(error) => {
                tracing::error!(hub = node.node_id, addr = node.grpc_addr, %error, "unusable address")
            }
        }
    }

    /// Keeps only the hubs of `nodes`, and takes note of those that are new.
    pub fn replace(&self, nodes: impl IntoIterator<Item = v1::HubNode>) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        self.members.lock().retain(|id, _| nodes.iter().any(|node| node.node_id == *id));
        nodes.into_iter().for_each(|node| self.learn(node));
    }

    /// The channel to a hub; `None` for this one and for a hub that is not known.
    pub fn channel(&self, hub: u64) -> Option<HubChannel> {
        self.members.lock().get(&hub).map(|member| member.channel.clone())
    }

    /// The other hubs, in the order of their ids.
    pub fn others(&self) -> Vec<v1::HubNode> {
        self.members.lock().values().map(|member| member.node.clone()).collect()
    }

    /// All hubs, this one first.
    pub fn all(&self) -> Vec<v1::HubNode> {
        std::iter::once(self.own.clone()).chain(self.others()).collect()
    }
}

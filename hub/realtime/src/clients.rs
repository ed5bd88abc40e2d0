//! What Socket.IO clients say, packet by packet. Called by Engine.IO while it reads, so that nothing overtakes anything.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use engineioxide::{DisconnectReason, Socket, Str, handler::EngineIoHandler};
use serde_json::value::RawValue;

use crate::{
    core::{
        name::UserName,
        packet::{Malformed, Packet, no_such_namespace},
        users::ConnectionId,
    },
    gateway::Realtime,
    measure::{self, Dropped},
    sessions::{self, Client, Tag},
};

/// Hears clients.
pub struct Clients(pub Arc<Realtime>);

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl EngineIoHandler for Clients {
    type Data = Tag;

    fn on_connect(self: Arc<Self>, client: Arc<Socket<Tag>>) {
        // Asked before by the door; what came in between is too much.
        if !self.0.has_room() {
            return sessions::close(&client);
        }
        let id = self.0.began(client.clone());
        // This is called once for each session.
        let _ = client.data.0.set(id);
        if sessions::engine3(&client) {
            // Clients 1.x and 2.x are in the default namespace unasked.
            sessions::send(&client, Str::from("0"));
        }
    }

    fn on_disconnect(&self, client: Arc<Socket<Tag>>, _: DisconnectReason) {
        if let Some(id) = client.data.0.get() {
            self.0.ended(*id);
        }
    }

    fn on_message(self: &Arc<Self>, text: Str, client: Arc<Socket<Tag>>) {
        let Some(id) = client.data.0.get().copied() else { return };
        match Packet::read(&text) {
            Ok(packet) => self.hear(id, &client, packet),
            Err(Malformed) => {
                measure::dropped(Dropped::Malformed);
                client.close(DisconnectReason::PacketParsingError);
            }
        }
    }

    fn on_binary(self: &Arc<Self>, _: Bytes, _: Arc<Socket<Tag>>) {
        // No event here has any.
        measure::dropped(Dropped::Malformed);
    }
}

impl Clients {
    fn hear(&self, id: ConnectionId, client: &Client, packet: Packet<'_>) {
        match packet {
            Packet::Connect => {
                if self.0.enters(id) && !sessions::engine3(client) {
                    sessions::send(client, Str::from(format!("0{{\"sid\":\"{}\"}}", client.id)));
                }
            }
            Packet::ConnectElsewhere(namespace) => {
                let said = no_such_namespace(namespace, sessions::engine3(client));
                sessions::send(client, Str::from(said));
            }
            Packet::Disconnect => self.0.leaves(id),
            Packet::Event(name, argument) if self.0.has_entered(id) => self.event(id, &name, argument),
            Packet::Event(..) | Packet::Other => measure::dropped(Dropped::Malformed),
        }
    }

    /// `update_peer` is no event of clients: hubs tell one another who is there on a way of their own.
    fn event(&self, id: ConnectionId, name: &str, argument: Option<&RawValue>) {
        match (name, argument) {
            ("identify", Some(name)) => match UserName::of_json(name) {
                Some(name) => self.0.identify(id, name),
                None => measure::dropped(Dropped::Malformed),
            },
            ("im", Some(message)) => self.0.send(message.get()),
            _ => measure::dropped(Dropped::Malformed),
        }
    }
}

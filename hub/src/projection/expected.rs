//! All rows as a state has them: what the tables are made of anew, and what they are compared with. Pure.

use loop_raft_store::machine::{Forum, HubState, Invitation};

use super::{
    rows::{Cell, Key, RowChange, Table},
    window::{Net, Window},
};

/// Rows of one table, by key.
pub type Rows<'a> = Box<dyn Iterator<Item = (Key, Vec<Cell>)> + Send + 'a>;

/// A state's rows.
pub struct Expected<'a> {
    state: &'a HubState,
    net: Net,
}

impl<'a> Expected<'a> {
    /// The rows of this state, and the window that goes on from it.
    pub fn of(state: &'a HubState, records_max: u64) -> (Self, Window) {
        let (window, net) = Window::of(state, records_max);
        (Self { state, net }, window)
    }

    /// Those of one table.
    pub fn rows(&self, table: Table) -> Rows<'_> {
        match table {
            Table::Layer => Box::new(self.state.forums().map(|forum: &Forum| row(RowChange::forum(forum)))),
            Table::Peer => Box::new(self.state.peers().map(|peer| row(RowChange::peer(peer)))),
            Table::Invitation => {
                let mut all: Vec<&Invitation> = self.state.invitations_newest_first().collect();
                all.reverse();
                Box::new(all.into_iter().map(|invitation| row(RowChange::invitation(invitation))))
            }
            Table::Request | Table::SessionUpdate | Table::UserLayer | Table::Traffic => {
                Box::new(self.net.of(table).filter_map(|(key, cells)| Some((key, cells?.to_vec()))))
            }
        }
    }
}

/// A row that is there.
fn row(change: RowChange) -> (Key, Vec<Cell>) {
    (change.key, change.cells.unwrap_or_default())
}

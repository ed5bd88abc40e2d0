//! A forum that is in memory as a whole, as an execution sees it. For whoever keeps no rows elsewhere.

use std::{convert::Infallible, sync::Arc};

use loop_proto::v1;

use crate::{
    view::{Row, WriteView},
    window::ForumWindow,
};

/// A window below which there is nothing.
#[derive(Clone, Copy)]
pub struct Whole<'a>(pub &'a ForumWindow);

impl WriteView for Whole<'_> {
    type Error = Infallible;

    fn forum(&self) -> Option<&v1::ForumStored> {
        self.0.forum()
    }

    fn is_subscriber(&self, user: u32) -> bool {
        self.0.is_subscriber(user)
    }

    fn message(&self, id: u32) -> Result<Option<Arc<Row>>, Infallible> {
        Ok(self.0.message(id, true).flatten())
    }

    fn authors_named(&self, name: &str) -> Result<Vec<Option<u32>>, Infallible> {
        self.0.authors_named(name, |_, _| Ok(Vec::new()))
    }

    fn was_said(&self, ip: &str, text: &str, since_s: u64, except: u32) -> bool {
        self.0.was_said(ip, text, since_s, except)
    }
}

//! One request, decoded once, and what it was given on its way.

use loop_proto::{
    ids::{ForumId, HubTime, MessageId},
    php_params::TooMuch,
    v1::{self, Endpoint},
};

use crate::request::Request;

/// What is to be executed or answered.
pub struct Call {
    /// Which of AtomJump's scripts.
    pub(crate) endpoint: Endpoint,
    /// The forum it is routed by; `None` when it names none, or one that is not open.
    pub(crate) forum: Option<ForumId>,
    /// The id to give to the message it creates, if it creates one.
    pub(crate) message_id: Option<MessageId>,
    /// What the client sent.
    pub(crate) request: Request,
}

impl Call {
    /// Reads what a client sent. `now` is the only clock an execution sees; `web_root` replaces the address the browser
    /// used, where one is configured. Fails for what has more parameters than any browser sends.
    pub fn read(
        request: &v1::ClientRequest,
        forum: Option<ForumId>,
        message_id: Option<MessageId>,
        now: HubTime,
        web_root: Option<&str>,
    ) -> Result<Self, TooMuch> {
        let endpoint = request.endpoint();
        Ok(Self { endpoint, forum, message_id, request: Request::read(request, now, web_root)? })
    }

    /// Whether it may change rows of its forum.
    pub fn is_write(&self) -> bool {
        matches!(self.endpoint, Endpoint::Shout | Endpoint::HideMessage)
    }

    /// The session's id; empty for robots, whose sessions are neither read nor written.
    pub fn session_id(&self) -> &str {
        &self.request.session_id
    }

    /// Whether the user agent says it is a robot.
    pub fn is_robot(&self) -> bool {
        self.request.is_robot
    }
}

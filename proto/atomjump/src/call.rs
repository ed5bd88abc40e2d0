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
    /// The unfinished message it goes on with.
    pub(crate) open_message: Option<MessageId>,
    /// What the client sent.
    pub(crate) request: Request,
}

/// What the log gave to a request with its place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// The id of the message it creates.
    pub message_id: Option<MessageId>,
    /// The unfinished message of this forum and of this session's user that it goes on with.
    pub open_message: Option<MessageId>,
}

impl Call {
    /// Reads what a client sent, as of `now`, the only clock there is. Fails for what has more parameters than any browser
    /// sends.
    pub fn read(
        request: &v1::ClientRequest,
        forum: Option<ForumId>,
        given: Given,
        now: HubTime,
    ) -> Result<Self, TooMuch> {
        let Given { message_id, open_message } = given;
        let endpoint = request.endpoint();
        Ok(Self { endpoint, forum, message_id, open_message, request: Request::read(request, now)? })
    }

    /// The same call, by now to this forum and at this time. What was decoded is not decoded again.
    pub fn set_place(&mut self, forum: Option<ForumId>, now: HubTime) {
        self.forum = forum;
        self.request.now_s = now.seconds();
    }

    /// Whether the user agent says it is a robot.
    pub fn is_robot(&self) -> bool {
        self.request.is_robot
    }
}

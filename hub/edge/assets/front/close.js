// Closes the window that was opened only to get the session's cookie.
window.close();

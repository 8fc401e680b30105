//! What can be judged about an object when it is written.

//! Accepts agents, decides who may speak for which custom resource, routes requests.

"""Nodes as processes of their own on real DDS; a package, because names recur one folder up."""

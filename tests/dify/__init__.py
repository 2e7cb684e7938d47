"""Tests of the Dify plugin; they need the SDK and a process of their own, which it patches with gevent."""

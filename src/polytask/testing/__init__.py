"""Conformance suites that methods and architectures of others can inherit."""

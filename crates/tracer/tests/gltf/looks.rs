//! Materials and textures.

use crate::builder::{Builder, assert_close};
use image::{DynamicImage, ImageFormat, RgbaImage};
use serde_json::{Value, json};
use std::io::Cursor;
use tracer::math::Vec3;
use tracer::world::{AlphaMode, Material, Texture, TextureRef, Wrap};

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Two pixels: sRGB 255, 128, 0 with alpha 128; and 51, 0, 0, opaque.
fn two_pixels() -> RgbaImage {
    RgbaImage::from_raw(2, 1, vec![255, 128, 0, 128, 51, 0, 0, 255]).unwrap()
}

fn with_material(material: Value) -> Builder {
    let mut builder = Builder::triangle();
    builder.add("materials", material);
    builder.json["meshes"][0]["primitives"][0]["material"] = json!(0);
    builder
}

fn with_image(bytes: &[u8], material: Value) -> Builder {
    let mut builder = with_material(material);
    let view = builder.view(bytes);
    builder.add(
        "images",
        json!({ "bufferView": view, "mimeType": "image/png" }),
    );
    builder.add("textures", json!({ "source": 0 }));
    builder
}

fn material(builder: &Builder) -> Material {
    let world = builder.world(1);
    world.materials[world.meshes[0].material].clone()
}

fn texture(builder: &Builder) -> Texture {
    builder.world(1).textures[0].clone()
}

fn base_color(extra: Value) -> Value {
    let mut info = json!({ "index": 0 });
    info.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    json!({ "pbrMetallicRoughness": { "baseColorTexture": info } })
}

#[test]
fn factors_and_modes_are_read() {
    let builder = with_material(json!({
        "name": "paint",
        "pbrMetallicRoughness": {
            "baseColorFactor": [0.1, 0.2, 0.3, 0.4], "metallicFactor": 0.5, "roughnessFactor": 0.6
        },
        "emissiveFactor": [1, 0.5, 0],
        "alphaMode": "MASK", "alphaCutoff": 0.7, "doubleSided": true,
        "extensions": {
            "KHR_materials_emissive_strength": { "emissiveStrength": 4 }, "KHR_materials_unlit": {}
        }
    }));
    let material = material(&builder);
    assert_eq!(material.name, "paint");
    assert_eq!(material.base_color, [0.1, 0.2, 0.3, 0.4]);
    assert_eq!((material.metallic, material.roughness), (0.5, 0.6));
    assert_eq!(material.emissive, Vec3::from([4.0, 2.0, 0.0]));
    assert_eq!(material.alpha, AlphaMode::Mask { cutoff: 0.7 });
    assert!(material.double_sided && material.unlit);
}

#[test]
fn defaults_are_those_of_gltf() {
    let material = material(&with_material(json!({})));
    assert_eq!((material.metallic, material.roughness), (1.0, 1.0));
    assert_eq!(material.emissive, Vec3::ZERO);
    assert_eq!(
        (material.alpha, material.double_sided, material.unlit),
        (AlphaMode::Opaque, false, false)
    );
    assert!(material.base_color_texture.is_none() && material.normal_texture.is_none());
}

#[test]
fn color_images_are_linear_and_alpha_is_kept() {
    let png = encoded(two_pixels(), ImageFormat::Png);
    let texture = texture(&with_image(&png, base_color(json!({}))));
    assert_eq!((texture.width, texture.height), (2, 1));
    let [r, g, b, a] = texture.pixels[0];
    assert_eq!((r, b, a), (1.0, 0.0, 128.0 / 255.0));
    assert!((g - 0.215_860_5).abs() < 1e-7);
    assert!((texture.pixels[1][0] - 0.033_104_77).abs() < 1e-7);
}

#[test]
fn data_images_are_not_converted() {
    let png = encoded(two_pixels(), ImageFormat::Png);
    for place in [
        "metallicRoughnessTexture",
        "normalTexture",
        "occlusionTexture",
    ] {
        let info = json!({ "index": 0 });
        let material = match place {
            "metallicRoughnessTexture" => json!({ "pbrMetallicRoughness": { place: info } }),
            _ => json!({ place: info }),
        };
        let texture = texture(&with_image(&png, material));
        assert_eq!(
            texture.pixels[0],
            [1.0, 128.0 / 255.0, 0.0, 128.0 / 255.0],
            "{place}"
        );
    }
}

#[test]
fn one_image_used_two_ways_is_two_textures() {
    let png = encoded(two_pixels(), ImageFormat::Png);
    let builder = with_image(
        &png,
        json!({
            "emissiveTexture": { "index": 0 }, "occlusionTexture": { "index": 0 },
            "pbrMetallicRoughness": { "baseColorTexture": { "index": 0 } }
        }),
    );
    let material = material(&builder);
    let index = |reference: Option<TextureRef>| reference.unwrap().texture;
    assert_eq!(builder.world(1).textures.len(), 2);
    assert_eq!(
        index(material.base_color_texture),
        index(material.emissive_texture)
    );
    assert_ne!(
        index(material.base_color_texture),
        index(material.occlusion_texture)
    );
}

#[test]
fn sixteen_bit_and_grey_images_keep_their_precision() {
    let grey = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(1, 1, vec![257u16]).unwrap();
    let png = encoded(grey, ImageFormat::Png);
    let data = texture(&with_image(
        &png,
        json!({ "occlusionTexture": { "index": 0 } }),
    ));
    assert_eq!(
        data.pixels,
        [[257.0 / 65535.0, 257.0 / 65535.0, 257.0 / 65535.0, 1.0]]
    );
    let color = texture(&with_image(&png, base_color(json!({}))));
    assert!((color.pixels[0][0] - (1.0 / 255.0 / 12.92)).abs() < 1e-9);
}

#[test]
fn jpeg_images_decode() {
    let grey = RgbaImage::from_pixel(16, 8, image::Rgba([188, 188, 188, 255]));
    let rgb = DynamicImage::ImageRgba8(grey).to_rgb8();
    let jpeg = encoded(rgb, ImageFormat::Jpeg);
    let texture = texture(&with_image(&jpeg, base_color(json!({}))));
    assert_eq!((texture.width, texture.height), (16, 8));
    for pixel in texture.pixels {
        assert!((pixel[0] - 0.502_886_5).abs() < 0.01, "{pixel:?}");
        assert_eq!(pixel[3], 1.0);
    }
}

#[test]
fn samplers_and_texture_transforms_are_read() {
    let png = encoded(two_pixels(), ImageFormat::Png);
    let transform =
        json!({ "offset": [0.1, 0.2], "rotation": 0.3, "scale": [4, 5], "texCoord": 1 });
    let mut builder = with_image(
        &png,
        base_color(json!({ "extensions": { "KHR_texture_transform": transform } })),
    );
    builder.add(
        "samplers",
        json!({ "wrapS": 33071, "wrapT": 33648, "magFilter": 9728 }),
    );
    builder.json["textures"][0]["sampler"] = json!(0);
    let expected = TextureRef {
        texture: 0,
        texcoord: 1,
        offset: [0.1, 0.2],
        rotation: 0.3,
        scale: [4.0, 5.0],
    };
    assert_eq!(material(&builder).base_color_texture, Some(expected));
    let texture = texture(&builder);
    assert_eq!(texture.wrap, [Wrap::Clamp, Wrap::Mirror]);
    assert!(texture.nearest);
}

#[test]
fn normal_maps_get_tangents_and_mirrored_nodes_turn_them_over() {
    let png = encoded(two_pixels(), ImageFormat::Png);
    let mut builder = with_image(
        &png,
        json!({ "normalTexture": { "index": 0, "scale": 0.5 } }),
    );
    let normals = builder.floats("VEC3", &[0.0, 0.0, 1.0].repeat(3));
    let texcoords = builder.floats("VEC2", &[0.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    let attributes = &mut builder.json["meshes"][0]["primitives"][0]["attributes"];
    attributes["NORMAL"] = json!(normals);
    attributes["TEXCOORD_0"] = json!(texcoords);
    assert_eq!(material(&builder).normal_scale, 0.5);
    for (scale, expected) in [([2, 1, 1], [1.0, 0.0, 0.0]), ([-2, 1, 1], [-1.0, 0.0, 0.0])] {
        builder.json["nodes"][0]["scale"] = json!(scale);
        let mesh = &builder.world(1).meshes[0];
        for (&(tangent, sign), &normal) in mesh.tangents.iter().zip(&mesh.normals) {
            assert_close(tangent, expected);
            assert_close(normal.cross(tangent) * sign, [0.0, 1.0, 0.0]);
        }
    }
}

#[test]
fn tangents_are_left_out_where_nothing_needs_them() {
    let mut builder = Builder::triangle();
    let tangents = builder.floats("VEC4", &[1.0, 0.0, 0.0, 1.0].repeat(3));
    builder.json["meshes"][0]["primitives"][0]["attributes"]["TANGENT"] = json!(tangents);
    assert!(builder.world(1).meshes[0].tangents.is_empty());
}

#[test]
fn textures_of_materials_that_are_not_shown_are_not_read() {
    let mut builder = with_image(b"no image at all", base_color(json!({})));
    builder.json["meshes"][0]["primitives"][0]["material"] = Value::Null;
    assert!(builder.world(1).textures.is_empty());
    builder.json["meshes"][0]["primitives"][0]["material"] = json!(0);
    let fault = builder.fault();
    assert!(
        fault.contains("number 0") && fault.contains("neither PNG nor JPEG"),
        "{fault}"
    );
}

#[test]
fn huge_images_are_refused_before_they_are_decoded() {
    let wide = RgbaImage::new(16_385, 1);
    let png = encoded(wide, ImageFormat::Png);
    let fault = with_image(&png, base_color(json!({}))).fault();
    assert!(fault.contains("unreadable image"), "{fault}");
}

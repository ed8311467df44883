//! Geometry: hierarchy, instances, primitive modes, accessors, mirrored nodes.

use crate::builder::{
    BYTE, Builder, FLOAT, FORWARD, UNSIGNED_BYTE, UNSIGNED_INT, UNSIGNED_SHORT, assert_close,
    facing, float_bytes, short_bytes,
};
use serde_json::json;
use tracer::math::vec3;

const QUARTER_ABOUT_Z: [f32; 4] = [0.0, 0.0, 0.707_106_77, 0.707_106_77];

#[test]
fn children_follow_their_parents() {
    let mut builder = Builder::triangle();
    builder.json["scenes"][0]["nodes"] = json!([1]);
    builder.add(
        "nodes",
        json!({ "translation": [10, 0, 0], "rotation": QUARTER_ABOUT_Z, "scale": [2, 2, 2], "children": [2] }),
    );
    // Column-major: moves by (0, 0, 5).
    builder.add(
        "nodes",
        json!({ "matrix": [1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,5,1], "children": [0] }),
    );
    let world = builder.world(1);
    let positions = &world.meshes[0].positions;
    assert_close(positions[0], [10.0, 0.0, 10.0]);
    assert_close(positions[1], [10.0, 2.0, 10.0]);
    assert_close(positions[2], [8.0, 0.0, 10.0]);
}

#[test]
fn instances_become_meshes_in_the_order_of_the_nodes() {
    let mut builder = Builder::triangle();
    builder.json["scenes"][0]["nodes"] = json!([2, 1]);
    builder.add("nodes", json!({ "mesh": 0, "translation": [1, 0, 0] }));
    builder.add(
        "nodes",
        json!({ "mesh": 0, "translation": [2, 0, 0], "children": [0] }),
    );
    builder.json["nodes"][0]["translation"] = json!([3, 0, 0]);
    let scene = builder.load().unwrap();
    assert_eq!(scene.about().triangles, 3);
    let world = builder.world(1);
    let first_x: Vec<f32> = world.meshes.iter().map(|m| m.positions[0].x).collect();
    assert_eq!(first_x, [2.0, 5.0, 1.0]);
}

#[test]
fn nodes_outside_the_scene_are_not_shown() {
    let mut builder = Builder::triangle();
    builder.add("nodes", json!({ "mesh": 0 }));
    assert_eq!(builder.world(1).meshes.len(), 1);
    builder.json["scenes"] = json!([]);
    builder.json.as_object_mut().unwrap().remove("scene");
    assert_eq!(builder.world(1).meshes.len(), 2);
}

#[test]
fn mirrored_nodes_keep_triangles_counter_clockwise_from_their_front() {
    let mut builder = Builder::triangle();
    let normals = builder.floats("VEC3", &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
    builder.json["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = json!(normals);
    for scale in [[1, 1, 1], [-1, 1, 1], [-2, -3, 1], [1, 1, -1]] {
        builder.json["nodes"][0]["scale"] = json!(scale);
        let world = builder.world(1);
        let front = FORWARD * scale[2] as f32;
        assert!(facing(&world, 0, 0).dot(front) > 0.0, "{scale:?}");
        assert_eq!(world.meshes[0].normals[1], front, "{scale:?}");
    }
}

#[test]
fn normals_of_stretched_nodes_stay_upright() {
    let mut builder = Builder::triangle();
    let slanted = [0.6, 0.0, 0.8].repeat(3);
    let normals = builder.floats("VEC3", &slanted);
    builder.json["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = json!(normals);
    builder.json["nodes"][0]["scale"] = json!([2, 1, 1]);
    // (0.6 / 2, 0, 0.8), normalised.
    let length = f32::sqrt(0.09 + 0.64);
    let world = builder.world(1);
    assert_close(
        world.meshes[0].normals[0],
        [0.3 / length, 0.0, 0.8 / length],
    );
}

#[test]
fn normals_that_have_no_direction_are_replaced_by_the_faces() {
    let mut builder = Builder::triangle();
    let normals = builder.floats("VEC3", &[0.0; 9]);
    builder.json["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = json!(normals);
    assert_eq!(builder.world(1).meshes[0].normals, vec![FORWARD; 3]);
}

/// Corners of a strip of two squares in the plane z = 0: (0,0), (0,1), (1,0), (1,1), ...
fn strip(builder: &mut Builder) -> usize {
    let corners: Vec<f32> = (0..6)
        .flat_map(|i| [(i / 2) as f32, (i % 2) as f32, 0.0])
        .collect();
    builder.floats("VEC3", &corners)
}

#[test]
fn strips_and_fans_become_triangles_of_one_winding() {
    let mut builder = Builder::triangle();
    let positions = strip(&mut builder);
    let indices = builder.accessor("SCALAR", UNSIGNED_SHORT, 4, &short_bytes(&[1, 0, 3, 2]));
    builder.json["meshes"][0]["primitives"] = json!([
        { "attributes": { "POSITION": positions }, "mode": 5, "indices": indices },
        { "attributes": { "POSITION": positions }, "mode": 5 },
    ]);
    let world = builder.world(1);
    assert_eq!(world.meshes[0].triangles, [[1, 0, 3], [0, 2, 3]]);
    assert_eq!(
        world.meshes[1].triangles,
        [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]]
    );
    for triangle in 0..2 {
        assert!(facing(&world, 0, triangle).z > 0.0);
    }
    for triangle in 0..4 {
        assert!(facing(&world, 1, triangle).z < 0.0);
    }

    let rim = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0];
    let positions = builder.floats("VEC3", &rim);
    builder.json["meshes"][0]["primitives"] =
        json!([{ "attributes": { "POSITION": positions }, "mode": 6 }]);
    let world = builder.world(1);
    assert_eq!(world.meshes[0].triangles, [[1, 2, 0], [2, 3, 0]]);
    assert!(facing(&world, 0, 0).z > 0.0 && facing(&world, 0, 1).z > 0.0);
}

#[test]
fn points_and_lines_are_left_out_with_a_warning() {
    let mut builder = Builder::triangle();
    let positions = strip(&mut builder);
    let primitives = builder.json["meshes"][0]["primitives"]
        .as_array_mut()
        .unwrap();
    for mode in 0..4 {
        primitives.push(json!({ "attributes": { "POSITION": positions }, "mode": mode }));
    }
    let scene = builder.load().unwrap();
    assert_eq!(
        scene.about().warnings,
        ["points and lines are not rendered"]
    );
    assert_eq!(builder.world(1).meshes.len(), 1);
}

#[test]
fn indices_of_every_width_are_read() {
    for (component_type, bytes) in [
        (UNSIGNED_BYTE, vec![2, 0, 1]),
        (UNSIGNED_SHORT, vec![2, 0, 0, 0, 1, 0]),
        (UNSIGNED_INT, vec![2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]),
    ] {
        let mut builder = Builder::triangle();
        let indices = builder.accessor("SCALAR", component_type, 3, &bytes);
        builder.json["meshes"][0]["primitives"][0]["indices"] = json!(indices);
        assert_eq!(builder.world(1).meshes[0].triangles, [[2, 0, 1]]);
    }
}

#[test]
fn strided_attributes_are_taken_apart() {
    let mut builder = Builder::triangle();
    let vertices: Vec<f32> = (0..15).map(|value| value as f32).collect();
    let view = builder.view(&float_bytes(&vertices));
    builder.json["bufferViews"][view]["byteStride"] = json!(20);
    let attributes = [("VEC3", 0, "POSITION"), ("VEC2", 12, "TEXCOORD_1")];
    for (shape, offset, name) in attributes {
        let accessor = json!({
            "bufferView": view, "byteOffset": offset, "componentType": FLOAT, "count": 3, "type": shape
        });
        let accessor = builder.add("accessors", accessor);
        builder.json["meshes"][0]["primitives"][0]["attributes"][name] = json!(accessor);
    }
    let world = builder.world(1);
    assert_close(world.meshes[0].positions[1], [5.0, 6.0, 7.0]);
    assert!(world.meshes[0].texcoords[0].is_empty());
    assert_eq!(
        world.meshes[0].texcoords[1],
        [[3.0, 4.0], [8.0, 9.0], [13.0, 14.0]]
    );
}

#[test]
fn normalised_integers_span_their_range() {
    let mut builder = Builder::triangle();
    let colors = builder.accessor(
        "VEC4",
        UNSIGNED_BYTE,
        3,
        &[0, 51, 255, 255, 0, 0, 0, 0, 1, 2, 3, 4],
    );
    let texcoords = builder.accessor(
        "VEC2",
        UNSIGNED_SHORT,
        3,
        &short_bytes(&[0, 65535, 13107, 0, 0, 0]),
    );
    let normals = builder.accessor("VEC3", BYTE, 3, &[0, 0, 127, 0, 0, 0x80, 0x81, 0, 0]);
    for accessor in [colors, texcoords, normals] {
        builder.json["accessors"][accessor]["normalized"] = json!(true);
    }
    let attributes = &mut builder.json["meshes"][0]["primitives"][0]["attributes"];
    attributes["COLOR_0"] = json!(colors);
    attributes["TEXCOORD_0"] = json!(texcoords);
    attributes["NORMAL"] = json!(normals);
    let mesh = &builder.world(1).meshes[0];
    assert_eq!(mesh.colors[0], [0.0, 0.2, 1.0, 1.0]);
    assert_eq!(mesh.texcoords[0][0], [0.0, 1.0]);
    assert_eq!(mesh.texcoords[0][1], [0.2, 0.0]);
    // Both -127 and -128 are -1.
    assert_eq!(mesh.normals, [FORWARD, -FORWARD, vec3(-1.0, 0.0, 0.0)]);
}

#[test]
fn colors_without_alpha_are_opaque() {
    let mut builder = Builder::triangle();
    let colors = builder.floats("VEC3", &[0.25, 0.5, 0.75].repeat(3));
    builder.json["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = json!(colors);
    assert_eq!(
        builder.world(1).meshes[0].colors,
        [[0.25, 0.5, 0.75, 1.0]; 3]
    );
}

#[test]
fn sparse_accessors_replace_single_elements() {
    let mut builder = Builder::triangle();
    let indices = builder.view(&[2]);
    let values = builder.view(&float_bytes(&[7.0, 8.0, 9.0]));
    let sparse = json!({
        "count": 1,
        "indices": { "bufferView": indices, "componentType": UNSIGNED_BYTE },
        "values": { "bufferView": values }
    });
    builder.json["accessors"][0]["sparse"] = sparse.clone();
    let positions = &builder.world(1).meshes[0].positions;
    assert_close(positions[1], [1.0, 0.0, 0.0]);
    assert_close(positions[2], [7.0, 8.0, 9.0]);
    // Without a buffer view the rest is zero.
    builder.json["accessors"][0] =
        json!({ "componentType": FLOAT, "count": 3, "type": "VEC3", "sparse": sparse });
    let positions = &builder.world(1).meshes[0].positions;
    assert_close(positions[1], [0.0, 0.0, 0.0]);
    assert_close(positions[2], [7.0, 8.0, 9.0]);
}

#[test]
fn meshes_without_a_material_get_the_plain_one() {
    let mut builder = Builder::triangle();
    builder.add("materials", json!({ "name": "red" }));
    let world = builder.world(1);
    let material = &world.materials[world.meshes[0].material];
    assert_eq!(
        (material.name.as_str(), material.base_color),
        ("", [1.0; 4])
    );
}

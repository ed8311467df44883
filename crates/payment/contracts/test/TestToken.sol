// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A plain ERC-20 with GLM's 18 decimals, for tests and test chains. Everybody may mint.
contract TestToken is ERC20 {
    constructor() ERC20("Test GLM", "tGLM") {}

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }
}

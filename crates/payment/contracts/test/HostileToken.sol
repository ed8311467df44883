// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that does what GLM does not, for tests: it keeps a fee, fails without reverting, or calls back.
contract HostileToken is ERC20 {
    uint256 public fee;
    bool public failsSilently;
    address public target;
    bytes public callback;
    bool private entered;
    uint256 public callbacksSucceeded;
    uint256 public callbacksFailed;

    constructor() ERC20("Hostile", "HST") {}

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }

    /// Every later transfer burns `amount` of what it moves.
    function keepFee(uint256 amount) external {
        fee = amount;
    }

    /// Every later transfer moves nothing and returns false.
    function failSilently(bool fails) external {
        failsSilently = fails;
    }

    /// Every later transfer calls `target_` with `data` before it moves anything.
    function callBack(address target_, bytes calldata data) external {
        target = target_;
        callback = data;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (failsSilently) return false;
        _callBack();
        return super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (failsSilently) return false;
        _callBack();
        super.transferFrom(from, to, amount);
        if (fee != 0) _burn(to, fee);
        return true;
    }

    function _callBack() private {
        if (target == address(0) || entered) return;
        entered = true;
        (bool succeeded,) = target.call(callback);
        entered = false;
        if (succeeded) ++callbacksSucceeded;
        else ++callbacksFailed;
    }
}
